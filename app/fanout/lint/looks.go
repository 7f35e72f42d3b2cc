package lint

import (
	"regexp"
	"strings"
)

// looks tells a statement from other texts: sentences begin with Select and Update as well.
var looks = regexp.MustCompile(`(?is)^(?:` + strings.Join([]string{
	`\(*\s*SELECT\s.*\sFROM\s`, `\(*\s*SELECT\s+(?:\d|@@|[a-z_]+\()`, `WITH\s+(?:RECURSIVE\s+)?\S+\s*(?:\([^)]*\)\s*)?AS\s*\(`,
	`(?:INSERT|REPLACE)\s+(?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE)\s+)*INTO\s+\S+?\s*(?:\(|VALUES?\b|SET\b|SELECT\b|\x{E000}|$)`,
	`INSERT\s+(?:IGNORE\s+)?\S+\s*(?:\([^)]*\)\s*)?VALUES?\b`, `UPDATE\s+\S.*?\sSET\s`, `DELETE\s+(?:\S+\s+)*?FROM\s+\S+`, `TRUNCATE\s+(?:TABLE\s+)?\S+\s*$`,
	`(?:CREATE|ALTER|DROP)\s+(?:OR\s+REPLACE\s+)?(?:TEMPORARY\s+|UNIQUE\s+|FULLTEXT\s+|DEFINER\s*=\s*\S+\s+)*(?:TABLE|INDEX|VIEW|DATABASE|SCHEMA|PROCEDURE|FUNCTION|TRIGGER|EVENT|USER)\s`,
	`RENAME\s+TABLE\s`, `(?:UN)?LOCK\s+TABLES\b`, `CALL\s+\S+?\s*\(`, `LOAD\s+DATA\s`, `SHOW\s+(?:TABLES|CREATE|COLUMNS|INDEX|WARNINGS|VARIABLES|STATUS|GLOBAL|SESSION|MASTER|SLAVE|BINARY)\b`,
	`SET\s+(?:(?:SESSION|GLOBAL|LOCAL|@@?\S+?)\s*\S*\s*:?=|NAMES\s|TRANSACTION\s|PASSWORD\s|[a-z_]+\s*=\s*\S+\s*$)`, `START\s+TRANSACTION\b`, `(?:SAVEPOINT|RELEASE\s+SAVEPOINT)\s+\S+$`, `ROLLBACK\s+TO\s`,
	`XA\s+(?:START|BEGIN|END|PREPARE|COMMIT|ROLLBACK)\s`, `DO\s+[A-Z_]+\(`, `(?:OPTIMIZE|ANALYZE)\s+TABLE\s`,
}, "|") + `)`)

// begin is what may stand before a statement.
var begin = regexp.MustCompile(`^(?:\s+|--[^\n]*(?:\n|$)|#[^\n]*(?:\n|$)|(?s:/\*[^!M].*?\*/))+`)

// looksSQL reports whether text is likely to be a statement.
func looksSQL(text string) bool {
	text = strings.TrimSpace(begin.ReplaceAllString(text, ""))
	return looks.MatchString(text) && (!sentence.MatchString(text) || strings.ContainsAny(text, "*=?(@"))
}

// sentence is how a text for people begins, and few statements.
var sentence = regexp.MustCompile(`^[A-Z][a-z]+ [a-z]`)

// placed replaces names such as :name, @p1 and %s, which libraries replace before a server, by question marks; quoted texts stay.
func placed(text string, marks *regexp.Regexp) string {
	var b strings.Builder
	last := 0
	for _, q := range quotedParts.FindAllStringIndex(text, -1) {
		b.WriteString(marks.ReplaceAllString(text[last:q[0]], "$1?"))
		b.WriteString(text[q[0]:q[1]])
		last = q[1]
	}
	b.WriteString(marks.ReplaceAllString(text[last:], "$1?"))
	return b.String()
}

var (
	quotedParts = regexp.MustCompile(`'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|` + "`[^`]*`")
	namedMarks  = regexp.MustCompile(`(^|[^:\w]):[A-Za-z_][\w.]*`)
)
