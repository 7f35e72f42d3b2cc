package lint

import (
	"regexp"
	"strings"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// sqlStatements are those of a SQL file. Statements that differ by their values only, as a dump has them, are one.
func sqlStatements(f source) (list []statement) {
	shapes := map[string]int{}
	line, from := 1, 0
	for _, text := range sqltext.Split(f.text) {
		i := strings.Index(f.text[from:], text)
		if i < 0 {
			continue
		}
		line += strings.Count(f.text[from:from+i], "\n")
		from += i
		shape := rows.ReplaceAllString(values.ReplaceAllString(begin.ReplaceAllString(text, ""), "?"), "()")
		at, ok := shapes[shape]
		switch {
		case ofClient.MatchString(text):
		case ok:
			list[at].same++
		default:
			shapes[shape] = len(list)
			list = append(list, statement{file: f.path, line: line, text: text})
		}
		line += strings.Count(text, "\n")
		from += len(text)
	}
	return list
}

var (
	rows   = regexp.MustCompile(`(?:\([?,]*\)[,?]*)+`)
	values = regexp.MustCompile(`'(?:[^'\\]|\\.|'')*'|\b\d[\w.]*|\s+`)
	// ofClient are commands of the client, and what a dump does to its own session.
	ofClient = regexp.MustCompile(`(?is)^(?:USE\s|SOURCE\s|\\|DELIMITER\b|/\*[!M].*\*/$|SET\s+(?:NAMES|@OLD|FOREIGN_KEY_CHECKS|UNIQUE_CHECKS|@@?SESSION)|CREATE\s+(?:DATABASE|SCHEMA|USER)|DROP\s+(?:DATABASE|SCHEMA|USER)|GRANT\b|FLUSH\b|UN?LOCK\s+TABLES|START\s+TRANSACTION|BEGIN$|COMMIT$)`)
)
