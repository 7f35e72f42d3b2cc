package query

import (
	"bytes"
	"slices"
	"strings"
)

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

// closed: a token that may be quoted, also as in x'4D', has its closing quote; nothing that follows belongs to it.
func closed(text []byte) bool {
	opening := bytes.IndexAny(text, "'\"`")
	if opening < 0 {
		return true
	}
	quoted := text[opening:]
	return quotedLen(append(slices.Clone(quoted), ' '), quoted[0]) == len(quoted)
}
