package query

import "strings"

// OneLine returns a statement on one line without its comments, fit to be given to a client after EXPLAIN. ok is false for
// what cannot be explained, and for what would be more than one statement or a command of the client.
func OneLine(statement string) (line string, ok bool) {
	var b strings.Builder
	var before byte
	for rest := []byte(strings.TrimRight(statement, "; \n\t\r")); len(rest) > 0; {
		kind, n := token(rest, before)
		text := rest[:n]
		before, rest = text[n-1], rest[n:]
		switch {
		case kind == space || kind == comment:
			b.WriteByte(' ')
		case kind == sign && (text[0] == ';' || text[0] == '\\'):
			return "", false
		case (kind == literal || kind == quoted) && !closed(text):
			return "", false
		default:
			b.Write(text)
		}
	}
	line = strings.TrimSpace(b.String())
	first, _, _ := strings.Cut(line, " ")
	switch strings.ToLower(first) {
	case "select", "insert", "update", "delete", "replace", "with":
		return line, !strings.ContainsAny(line, "\n\r\x00")
	}
	return "", false
}

// closed tells whether a quoted text has its closing quote.
func closed(text []byte) bool {
	q := text[len(text)-1]
	opened := text[0]
	if opened != '\'' && opened != '"' && opened != '`' {
		return true
	}
	return len(text) > 1 && q == opened
}
