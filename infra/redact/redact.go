// Package redact replaces secrets in text by *** before it is saved: passwords in commands, addresses and settings, keys, cookies and
// tokens. It finds them by name and shape; the caller can name secrets that look like ordinary text (Known).
package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Mask stands where a secret was.
const Mask = "***"

// word is what the names of secrets have in them; name is such a name, wherever the word stands in it.
const (
	word = `password|passwd|passphrase|passcode|pwd|(?:db|my|mysql|maria|pg|user|root|admin|smtp|mail|ftp|ssh|redis|require|master|auth|login|conn)[_-]?pass|masterauth|secret|token|` +
		`api[_.-]?key|access[_.-]?key|private[_.-]?key|signing[_.-]?key|encryption[_.-]?key|master[_.-]?key|session[_.-]?(?:id|key)|credential|authorization`
	name = `[A-Za-z0-9_.-]*(?:` + word + `)[A-Za-z0-9_.-]*`
	// Strings and all other matches end with their line: one line must not change what is found on another.
	quoted = `(?:"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?|` + "`[^`\\n]*`?" + `)`
	// escaped is a string inside of another.
	escaped = `(?:\\+"(?:[^"\\\n]|\\+[^"\\\n])*(?:\\+"|")?|\\+'(?:[^'\\\n]|\\+[^'\\\n])*(?:\\+'|')?)`
	bare    = `[^\s"'` + "`" + `,;&)<>{}\[\]\\(][^\s"'` + "`" + `,;&)<>]*`
	// prefix may stand before a string: Python's b"", a cast or a call around it.
	prefix = `(?:[&!]\w+[ \t]+)?(?:(?:str|string|bytes|[A-Za-z_.]*[Ss]ecret[A-Za-z]*|\[\]byte|&?[brfuBRFU]{1,2}|String\.valueOf|new[ \t]+\w+)\(?)?`
	// assigns is the text between a name, whose quote or bracket may have to be closed, and its value.
	assigns = `\\*["'` + "`" + `\])}]*[ \t]*(?::[ \t]*(?:&?[A-Za-z][\w.\[\]]*[ \t]*=|=)|=>|->|\?\?=?|\|\|=?|={1,3}|:-|:\+|:|<-)[ \t]*`
)

// rules are applied in their order. One with nothing to put has the value as its second group, whose quotes stay.
var rules = []struct {
	find *regexp.Regexp
	put  string
}{
	// -----BEGIN ... PRIVATE KEY----- to its end, or to that of the text.
	{regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\z)`), "${1}" + Mask + "${2}"},
	// user:password@tcp(host:port)/db; scheme://user:password@host, where the password may hold / and @, and is not a port
	{regexp.MustCompile(`([A-Za-z0-9_.%+-]+):[^\s'"` + "`" + `]*@((?:tcp6?|unix)\()`), "${1}:" + Mask + "@${2}"},
	{regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^/\s:@'"<>]*):(?:[0-9]{0,5}[^0-9/\s'"<>][^\s'"<>]*|[0-9]{6,}[^\s'"<>]*|[0-9]{1,5})@`), "${1}:" + Mask + "@"},
	// Authorization: Basic ..., Cookie: ..., Set-Cookie: ..., X-...-Token: ...
	{regexp.MustCompile(`(?i)\b((?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]*(?:token|key|secret))(\\*["']?[ \t]*(?:=>|[:=,])[ \t]*\\*["']?)[^"'\r\n]+`), "${1}${2}" + Mask},
	{regexp.MustCompile(`(?i)((?:proxy_set_header|add_header|request_header|requestHeader)[ \t]+(?:authorization|cookie|x-[a-z-]*(?:token|key|secret))[ \t]+)[^;\n]+`), "${1}" + Mask},
	{regexp.MustCompile(`(?i)\b(bearer|basic)[ \t]+[A-Za-z0-9._~+/=-]{8,}`), "${1} " + Mask},
	// <input type="password" value="x">, <password>x</password>, <property name="password" value="x"/>, <entry key="password">x</entry>
	{regexp.MustCompile(`(?i)(<[^<>\n]*(?:` + word + `)[^<>\n]*?\b(?:value|content)[ \t]*=[ \t]*)(?:"[^"\n]*"?|'[^'\n]*'?|[^\s>"']+)`), `${1}"` + Mask + `"`},
	{regexp.MustCompile(`(?i)(<[^<>\n]*?\b(?:value|content)[ \t]*=[ \t]*)(?:"[^"\n]*"|'[^'\n]*'|[^\s>"']+)([^<>\n]*(?:` + word + `))`), `${1}"` + Mask + `"${2}`},
	{regexp.MustCompile(`(?i)(<[^<>/\n]*(?:` + word + `)[^<>\n]*>)(?:<!\[CDATA\[)?[^<\n]+`), "${1}" + Mask},
	// What a program takes where a variable is not set: os.Getenv("PASSWORD") || "x", unwrap_or("x")
	{regexp.MustCompile(`(?i)(` + name + `[^\n;,]{0,80}?(?:\|\||\?\?|//|\?:|\bor\b|(?:unwrap_or|orElse|getOrElse|getOrDefault|or_else)\w*\()[ \t]*)(` + quoted + `)`), ""},
	// YAML's blocks, and a name and its value in an entry each: {name: PASSWORD, value: x}
	{regexp.MustCompile(`(?i)(` + name + `["']?:[ \t]*[|>][-+0-9]*[ \t]*\n)[ \t]+[^\n]+`), "${1}  " + Mask},
	{regexp.MustCompile(`(?i)(\b(?:name|key)["']?[ \t]*[:=][ \t]*["']?` + name + `["']?[ \t]*,?[ \t]*\n?[ \t]*["']?value["']?[ \t]*[:=][ \t]*)(?:"[^"\n]*"?|'[^'\n]*'?|[^\s,}]+)`), "${1}" + Mask},
	// "password": "x", password=x, 'password' => 'x', password := "x", \"password\":\"x\", ENV["PASSWORD"] || "x", ${PASSWORD:-x}
	{regexp.MustCompile(`(?i)(` + name + assigns + prefix + `)(` + quoted + `|` + escaped + `|` + bare + `)`), ""},
	// A key that is short, with a string: pass = "x"
	{regexp.MustCompile(`(?i)(\b(?:pass|pw|psw)` + assigns + prefix + `)(` + quoted + `|` + escaped + `)`), ""},
	// define('PASSWORD', 'x'), getenv("PASSWORD", "x"), setPassword("x"), ENV.fetch("TOKEN") { "x" }, env["TOKEN"] or "x", password "x"
	{regexp.MustCompile(`(?i)(` + name + `\\*["'` + "`" + `\])]*(?:[ \t]*(?:,|\(|\bor\b|\{)[ \t]*|[ \t]+)(?:\w+[ \t]*[:=][ \t]*|\{[ \t]*)?` + prefix + `)(` + quoted + `|` + escaped + `)`), ""},
	// --password x, netrc's password x, redis's requirepass x, SetEnv PASSWORD x
	{regexp.MustCompile(`(?i)(--?(?:password|passwd|pass|token|secret|api-?key)[ \t]+)("[^"\n]*"|'[^'\n]*'|[^\s"'-][^\s"']*)`), "${1}" + Mask},
	{regexp.MustCompile(`(?i)(\b(?:login[ \t]+\S+[ \t]+password|requirepass|masterauth|(?:setenv|env|export|arg)[ \t]+` + name + `|set[ \t]+-gx[ \t]+` + name + `)[ \t]+)("[^"\n]*"|'[^'\n]*'|[^\s"']+)`), "${1}" + Mask},
	// mysql -pSECRET, sshpass -p SECRET, curl -u name:secret
	{regexp.MustCompile(`(\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump|mariadb-admin|mysqlimport|mysqlbinlog|mysqlsh|mysqlslap)\b[^|;&\n]*?\s-p)("[^"\n]*"|'[^'\n]*'|[^\s]+)`), "${1}" + Mask},
	{regexp.MustCompile(`(\b(?:sshpass|redis-cli|mongo|mongosh|ldapsearch)\b[^|;&\n]*?\s-(?:p|a|w))[ \t]*("[^"\n]*"|'[^'\n]*'|[^\s]+)`), "${1} " + Mask},
	{regexp.MustCompile(`(\s(?:-u|--user)[ \t=]*["']?[^\s:'"]+:)[^\s'"]+`), "${1}" + Mask},
	// JSON web tokens, and keys of well-known makers
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*`), Mask},
	{regexp.MustCompile(`\b(?:A(?:KIA|SIA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|glp?(?:at|tt|rt)-[A-Za-z0-9_-]{16,}|` +
		`[srp]k_(?:live|test)_[A-Za-z0-9]{10,}|sk-[A-Za-z0-9_-]{20,}|whsec_[A-Za-z0-9+/=]{16,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{30,}|` +
		`pypi-[A-Za-z0-9_-]{20,}|do[op]_v1_[a-f0-9]{30,}|dckr_pat_[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|shp(?:at|ca|pa|ss)_[A-Za-z0-9]{20,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|` +
		`AGE-SECRET-KEY-1[A-Z0-9]{40,}|hvs\.[A-Za-z0-9_-]{20,}|LTAI[A-Za-z0-9]{12,}|sq0(?:csp|atp)-[A-Za-z0-9_-]{20,}|rubygems_[a-f0-9]{30,}|lin_api_[A-Za-z0-9]{20,})`), Mask},
	{regexp.MustCompile(`(https?://(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/)\S+`), "${1}" + Mask},
	// IDENTIFIED BY 'x', IDENTIFIED WITH plugin AS 'x', PASSWORD('x')
	{regexp.MustCompile(`(?i)(identified[ \t]+(?:with[ \t]+\S+[ \t]+)?(?:by|as|using)[ \t]+(?:password[ \t]+)?(?:password[ \t]*\([ \t]*)?)('(?:[^'\\\n]|\\.|'')*'?|"(?:[^"\\\n]|\\.)*"?)`), "${1}'" + Mask + "'"},
}

// Text returns text without the secrets that are known by their names and shapes.
func Text(text string) string {
	for _, r := range rules {
		if r.put != "" {
			text = r.find.ReplaceAllString(text, r.put)
			continue
		}
		text = r.find.ReplaceAllStringFunc(text, func(found string) string {
			m := r.find.FindStringSubmatch(found)
			quote := quotes.FindString(m[2])
			return m[1] + quote + Mask + quote
		})
	}
	return text
}

var quotes = regexp.MustCompile("^\\\\*[\"'`]")

// Known returns text without these values, wherever they stand, as they are or as JSON, an address or base64 writes them. Values of
// less than four bytes are left alone, as they would take half of any text with them.
func Known(text string, secrets ...string) string {
	for _, s := range secrets {
		if len(s) < 4 {
			continue
		}
		inJSON, _ := json.Marshal(s) // a string has no error
		for _, form := range []string{s, string(inJSON[1 : len(inJSON)-1]), url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(s))} {
			text = strings.ReplaceAll(text, form, Mask)
		}
	}
	return text
}

// Values masks these values in every string in v, a pointer to what JSON can hold, keys of maps included.
func Values(v any, secrets ...string) error {
	text, err := json.Marshal(v)
	if err != nil || !slices.ContainsFunc(secrets, func(s string) bool { return Known(string(text), s) != string(text) }) {
		return err
	}
	var parts any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&parts); err != nil {
		return err
	}
	if text, err = json.Marshal(masked(parts, secrets)); err != nil {
		return err
	}
	reflect.ValueOf(v).Elem().SetZero()
	return json.Unmarshal(text, v)
}

func masked(part any, secrets []string) any {
	switch p := part.(type) {
	case string:
		return Known(p, secrets...)
	case []any:
		for i := range p {
			p[i] = masked(p[i], secrets)
		}
	case map[string]any:
		for key, value := range p {
			delete(p, key)
			p[Known(key, secrets...)] = masked(value, secrets)
		}
	}
	return part
}

// Environment returns the values of those variables ("NAME=value") that are secrets by name or are an address with a password, which is
// then returned as well. The path of an existing file of this machine is not a secret, under any name.
func Environment(variables []string) (secrets []string) {
	for _, v := range variables {
		key, value, _ := strings.Cut(v, "=")
		if _, err := os.Stat(value); err == nil && filepath.IsAbs(value) { // where a secret is, or a shell's OLDPWD: no secret
			continue
		}
		if len(value) >= 8 && (Secret(key) || Text(value) != value) {
			secrets = append(secrets, value)
			if m := inAddress.FindStringSubmatch(value); m != nil {
				secrets = append(secrets, m[1])
			}
		}
	}
	return secrets
}

// inAddress is the password of an address or of a DSN.
var inAddress = regexp.MustCompile(`^(?:[A-Za-z][A-Za-z0-9+.-]*://)?[^/\s:@]*:(.{4,})@`)

// Value returns the value of a setting or a fact of that name, masked completely if the name is a secret's.
func Value(name, value string) string {
	if value != "" && Secret(name) {
		return Mask
	}
	return Text(value)
}

// telling finds in a statement the names of columns, tables and clauses whose values are secrets.
var telling = regexp.MustCompile(`(?i)pass(?:word|wd|phrase|hash)?\b|passw|passhash|_hash\b|secret|token|cookie|session|api_?key|credential|identified\s+by|salt|digest\(|\bsha[12]?\(|\bmd5\(|aes_`)

var strungs = regexp.MustCompile(`'(?:[^'\\]|\\.|'')*(?:'|\z)|"(?:[^"\\]|\\.|"")*(?:"|\z)`)

// Statement masks a statement's secrets. If it names any, all of its strings are masked: in a list of values the names are unknown.
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
