package query

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math"
	"strings"
)

// Fingerprint returns what a statement has in common with those that differ from it in literals, in the length of lists, in
// comments, in space and in case only: "select * from t where id in (?+)".
func Fingerprint(statement string) string {
	if rest, ok := strings.CutPrefix(statement, "# administrator command: "); ok {
		return "administrator command: " + strings.TrimRight(rest, "; \n")
	}
	f := fingerprinter{out: make([]byte, 0, min(len(statement), 1024))}
	f.run([]byte(strings.TrimRight(statement, "; \t\r\n"))) // the last of several parts has no more than the others
	return string(bytes.TrimRight(f.out, "; "))
}

// IDOf is a fingerprint's hash, 16 hexadecimal digits.
func IDOf(fingerprint string) string {
	sum := sha256.Sum256([]byte(fingerprint))
	return hex.EncodeToString(sum[:8])
}

type fingerprinter struct {
	out []byte
	low []byte // the word that is written
	// gap says that space is due before the next token.
	gap bool
	// levels are the open parentheses, the statement itself first; cases the CASEs that have not ended.
	levels []repeated
	cases  []repeated
}

// repeated finds parts that read the same one after another: of any number of them two are kept, of WHENs one.
type repeated struct {
	begin int    // of the part that is being written
	from  int    // of what would be cut off with it
	last  []byte // the part before; nil when there was none
	times int    // how often it came
}

// part ends the part that was written; it is cut off where more than most of it came one after another.
func (f *fingerprinter) part(r *repeated, most int) {
	if r.begin > len(f.out) {
		return
	}
	text := bytes.TrimSpace(f.out[r.begin:])
	if r.last == nil || !bytes.Equal(text, r.last) {
		r.last, r.times = bytes.Clone(text), 1
		return
	}
	if r.times++; r.times > most {
		f.out, f.gap = f.out[:r.from], true
	}
}

func (f *fingerprinter) run(b []byte) {
	f.levels = []repeated{{}}
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
			f.low = appendLower(f.low[:0], text)
			b = f.word(f.low, b)
		default:
			f.sign(text)
		}
	}
	f.part(&f.levels[len(f.levels)-1], 2)
}

func appendLower(out, text []byte) []byte {
	for _, c := range text {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		} else if c >= 0x80 {
			return append(out[:0], bytes.ToLower(text)...)
		}
		out = append(out, c)
	}
	return out
}

// word writes a word, in small letters, and returns what comes after it and the lists that it begins.
func (f *fingerprinter) word(low, rest []byte) []byte {
	word := string(low)
	level := &f.levels[len(f.levels)-1]
	switch {
	case word == "union" || (word == "order" || word == "limit") && level.last != nil:
		f.part(level, 2)
		level.from = len(f.out)
		f.write(low)
		level.begin = len(f.out)
		if word != "union" {
			level.last = nil // what follows orders all of them
		}
		return rest
	case (word == "all" || word == "distinct") && bytes.HasSuffix(f.out, []byte("union")):
		f.write(low)
		level.begin = len(f.out)
		return rest
	case word == "case":
		f.cases = append(f.cases, repeated{begin: math.MaxInt})
	case len(f.cases) > 0 && (word == "when" || word == "else" || word == "end"):
		arm := &f.cases[len(f.cases)-1]
		f.part(arm, 1)
		if arm.begin, arm.from = len(f.out), len(f.out); word == "end" {
			f.cases = f.cases[:len(f.cases)-1]
		}
	}
	f.write(low)
	switch word {
	case "values", "value":
		return f.values(rest)
	case "in":
		if list := skipBlank(rest); len(list) > 0 && list[0] == '(' && isLiterals(list) {
			f.gap = true
			f.write([]byte("(?+)"))
			return skipParens(list)
		}
	}
	return rest
}

// isLiterals: the parentheses contain only literals and rows of them.
func isLiterals(b []byte) bool {
	for inside := b[:len(b)-len(skipParens(b))]; len(inside) > 0; {
		kind, n := token(inside, 0)
		if kind == word || kind == quoted || kind == sign && !bytes.Contains([]byte("(),+-?."), inside[:1]) {
			return false
		}
		inside = inside[n:]
	}
	return true
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
	if bytes.HasSuffix(f.out, []byte("limit ?,")) {
		f.out, f.gap = f.out[:len(f.out)-1], false
		return
	}
	f.write([]byte("?"))
}

const maxLevels = 100

func (f *fingerprinter) sign(text []byte) {
	if n := len(f.levels) - 1; text[0] == ')' && n > 0 {
		f.part(&f.levels[n], 2)
		f.levels = f.levels[:n]
	}
	if text[0] == ',' || text[0] == ')' {
		f.gap = false
	}
	f.write(text)
	switch {
	case text[0] == ',':
		f.gap = true
	case text[0] == '(' && len(f.levels) < maxLevels:
		f.levels = append(f.levels, repeated{begin: len(f.out)})
	}
}

// values writes "(?+)" for all the rows that follow, and returns what comes after them.
func (f *fingerprinter) values(b []byte) []byte {
	rest := rowOf(b)
	if len(rest) == 0 || rest[0] != '(' || isColumnRef(rest) {
		return b
	}
	for len(rest) > 0 && rest[0] == '(' {
		rest = skipBlank(skipParens(rest))
		b = rest
		if len(rest) > 0 && rest[0] == ',' {
			rest = rowOf(rest[1:])
		}
	}
	f.gap = true
	f.write([]byte("(?+)"))
	f.gap = true
	return b
}

// rowOf skips what may precede a row: blanks, and the word ROW.
func rowOf(b []byte) []byte {
	if b = skipBlank(b); len(b) > 3 && bytes.EqualFold(b[:3], []byte("row")) && !isName(b[3]) {
		b = skipBlank(b[3:])
	}
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

// skipParens skips to the end of what the first byte, a parenthesis, opens.
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
