// Package redact takes secrets out of text before it is kept: passwords in commands, addresses and settings, keys, cookies
// and tokens. Text goes in, the same text with *** in place of each secret comes out. It goes by the names and shapes that
// secrets have; what looks like nothing in particular is known only to the caller, who can name it (Known).
package redact

import (
	"regexp"
	"strings"
)

// Mask stands where a secret was.
const Mask = "***"

// name matches the names of secrets, wherever they stand in a longer name.
const name = `[A-Za-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|apikey|access[_-]?key|private[_-]?key|credential|authorization|session[_-]?(?:id|key)|MYSQL_PWD|_PWD)[A-Za-z0-9_.-]*`

var rules = []struct {
	find *regexp.Regexp
	put  string
}{
	// -----BEGIN ... PRIVATE KEY----- to its end, or to that of the text.
	{regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\z)`), "${1}" + Mask + "${2}"},
	// scheme://user:password@host
	{regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@'"]*):[^/\s@'"]+@`), "${1}:" + Mask + "@"},
	// user:password@tcp(host:port)/db
	{regexp.MustCompile(`([A-Za-z0-9_.-]+):[^\s:'"=,]*?@((?:tcp6?|unix)\()`), "${1}:" + Mask + "@${2}"},
	// Authorization: Basic ..., Cookie: ..., Set-Cookie: ..., X-...-Token: ...
	{regexp.MustCompile(`(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]*(?:token|key|secret))(["']?\s*[:=]\s*["']?)[^"'\r\n]+`), "${1}${2}" + Mask},
	{regexp.MustCompile(`(?i)(proxy_set_header\s+(?:authorization|cookie|x-[a-z-]*(?:token|key|secret))\s+)[^;\n]+`), "${1}" + Mask},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`), "${1} " + Mask},
	// "password": "x", password=x, PASSWORD='x', --password=x, --password x
	{regexp.MustCompile(`(?i)("` + name + `"\s*:\s*)"(?:[^"\\]|\\.)*"`), `${1}"` + Mask + `"`},
	{regexp.MustCompile(`(?i)(` + name + `)(\s*[=:]\s*)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"',;&)]+)`), "${1}${2}" + Mask},
	{regexp.MustCompile(`(?i)(--?(?:password|passwd|pass|token|secret|api-?key)\s+)("[^"]*"|'[^']*'|[^\s"'-][^\s"']*)`), "${1}" + Mask},
	// mysql -pSECRET, and curl -u name:secret
	{regexp.MustCompile(`(\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump|mariadb-admin|mysqlimport|mysqlbinlog)\b[^|;&\n]*?\s-p)([^\s]+)`), "${1}" + Mask},
	{regexp.MustCompile(`(\s(?:-u|--user)[\s=]+[^\s:'"]+:)[^\s'"]+`), "${1}" + Mask},
	// JSON web tokens, and keys of well-known makers
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`), Mask},
	{regexp.MustCompile(`\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|glpat-[A-Za-z0-9_-]{16,})\b`), Mask},
	{regexp.MustCompile(`(https?://(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/)\S+`), "${1}" + Mask},
	// IDENTIFIED BY 'x', IDENTIFIED WITH plugin AS 'x', PASSWORD('x')
	{regexp.MustCompile(`(?i)(identified\s+(?:with\s+\S+\s+)?(?:by|as|using)\s+(?:password\s+)?(?:password\s*\(\s*)?)('(?:[^'\\]|\\.|'')*'?|"(?:[^"\\]|\\.)*"?)`), "${1}'" + Mask + "'"},
	{regexp.MustCompile(`(?i)(\bpassword\s*\(\s*)('(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?)`), "${1}'" + Mask + "'"},
}

// Text returns text without the secrets that are known by their names and shapes.
func Text(text string) string {
	for _, r := range rules {
		text = r.find.ReplaceAllString(text, r.put)
	}
	return text
}

// Known returns text without these values, wherever they stand; values of less than four bytes are left alone, as they
// would take half of any text with them.
func Known(text string, secrets ...string) string {
	for _, s := range secrets {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, s, Mask)
		}
	}
	return text
}

// telling finds in a statement the names of columns, tables and clauses whose values are secrets.
var telling = regexp.MustCompile(`(?i)pass(?:word|wd|phrase|hash)?\b|passw|passhash|_hash\b|secret|token|cookie|session|api_?key|credential|identified\s+by|salt|digest\(|\bsha[12]?\(|\bmd5\(|aes_`)

var strungs = regexp.MustCompile(`'(?:[^'\\]|\\.|'')*(?:'|\z)|"(?:[^"\\]|\\.|"")*(?:"|\z)`)

// Statement returns a statement without secrets. Where it names anything that holds some, all of its strings are masked: in
// a list of values nothing tells which is which.
func Statement(text string) string {
	text = Text(text)
	if !telling.MatchString(text) {
		return text
	}
	return strungs.ReplaceAllString(text, "'"+Mask+"'")
}

// Secret tells whether a setting of this name holds a secret.
func Secret(setting string) bool { return secretName.MatchString(setting) }

var secretName = regexp.MustCompile(`(?i)^` + name + `$`)
