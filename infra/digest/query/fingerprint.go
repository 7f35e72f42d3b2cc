package query

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Fingerprint returns what a statement has in common with those that differ from it in literals, in the length of lists, in
// comments, in space and in case only: "select * from t where id in (?+)".
func Fingerprint(statement string) string {
	if rest, ok := strings.CutPrefix(statement, "# administrator command: "); ok {
		return "administrator command: " + strings.TrimRight(rest, "; \n")
	}
	f := fingerprinter{out: make([]byte, 0, min(len(statement), 1024))}
	f.run([]byte(statement))
	return string(bytes.TrimRight(f.out, "; "))
}

// IDOf is a fingerprint's hash, 16 hexadecimal digits.
func IDOf(fingerprint string) string {
	sum := sha256.Sum256([]byte(fingerprint))
	return hex.EncodeToString(sum[:8])
}

type fingerprinter struct {
	out []byte
	// gap says that space is due before the next token.
	gap bool
}

func (f *fingerprinter) run(b []byte) {
	var before byte
	for len(b) > 0 {
		kind, n := token(b, before)
		text := b[:n]
		before = text[n-1]
		b = b[n:]
		switch kind {
		case space, comment:
			f.gap = true
		case literal:
			f.literal()
		case word:
			f.write(bytes.ToLower(text))
			if strings.EqualFold(string(text), "values") || strings.EqualFold(string(text), "value") {
				b = f.values(b)
			}
		default:
			f.sign(text)
		}
	}
}

func (f *fingerprinter) write(text []byte) {
	if f.gap && len(f.out) > 0 && f.out[len(f.out)-1] != '(' && text[0] != ')' && text[0] != ',' {
		f.out = append(f.out, ' ')
	}
	f.gap = false
	f.out = append(f.out, text...)
}

// literal writes a question mark; a sign before a number belongs to it where nothing could be subtracted from.
func (f *fingerprinter) literal() {
	if n := len(f.out); n > 0 && (f.out[n-1] == '-' || f.out[n-1] == '+') {
		rest := bytes.TrimRight(f.out[:n-1], " ")
		if len(rest) > 0 && bytes.IndexByte([]byte("=<>(,"), rest[len(rest)-1]) >= 0 {
			f.out = f.out[:n-1]
		}
	}
	// A list of literals is as long as it happened to be.
	for _, one := range []string{"?, ", "?,"} {
		if bytes.HasSuffix(f.out, []byte(one)) && bytes.HasSuffix(f.out[:len(f.out)-len(one)], []byte("(")) && f.isList(len(f.out)-len(one)-1) {
			f.out = append(f.out[:len(f.out)-len(one)], "?+"...)
			f.gap = false
			return
		}
		if bytes.HasSuffix(f.out, []byte("?+"+one[1:])) {
			f.out = f.out[:len(f.out)-len(one)+1]
			f.gap = false
			return
		}
	}
	if bytes.HasSuffix(f.out, []byte("limit ?,")) {
		f.out, f.gap = f.out[:len(f.out)-1], false
		return
	}
	f.write([]byte("?"))
}

// isList tells whether the parenthesis at this place opens the list of IN.
func (f *fingerprinter) isList(open int) bool {
	before := bytes.TrimRight(f.out[:open], " ")
	return bytes.HasSuffix(before, []byte(" in"))
}

func (f *fingerprinter) sign(text []byte) {
	if text[0] == ')' && bytes.HasSuffix(f.out, []byte("(?")) && f.isList(len(f.out)-2) {
		f.out = append(f.out, '+') // a list of one is a list, too
	}
	if text[0] == ',' || text[0] == ')' {
		f.gap = false
	}
	f.write(text)
	if text[0] == ',' {
		f.gap = true
	}
}

// values writes "(?+)" for all the rows that follow, and returns what comes after them.
func (f *fingerprinter) values(b []byte) []byte {
	rest := skipBlank(b)
	if len(rest) == 0 || rest[0] != '(' || isColumnRef(rest) {
		return b
	}
	for len(rest) > 0 && rest[0] == '(' {
		rest = skipBlank(skipParens(rest))
		b = rest
		if len(rest) > 0 && rest[0] == ',' {
			rest = skipBlank(rest[1:])
		}
	}
	f.gap = true
	f.write([]byte("(?+)"))
	f.gap = true
	return b
}

// isColumnRef tells VALUES(name) in ON DUPLICATE KEY UPDATE from a row.
func isColumnRef(b []byte) bool {
	inside := skipBlank(b[1:])
	if len(inside) == 0 {
		return false
	}
	kind, n := token(inside, 0)
	after := skipBlank(inside[n:])
	return (kind == word || kind == quoted) && len(after) > 0 && after[0] == ')' && !bytes.EqualFold(inside[:n], []byte("default"))
}

// skipBlank passes over space and comments.
func skipBlank(b []byte) []byte {
	for len(b) > 0 {
		kind, n := token(b, 0)
		if kind != space && kind != comment {
			return b
		}
		b = b[n:]
	}
	return b
}

// skipParens passes over what the first byte, a parenthesis, opens.
func skipParens(b []byte) []byte {
	depth := 0
	for len(b) > 0 {
		kind, n := token(b, 0)
		if kind == sign && b[0] == '(' {
			depth++
		}
		if kind == sign && b[0] == ')' {
			depth--
		}
		b = b[n:]
		if depth == 0 {
			return b
		}
	}
	return b
}
