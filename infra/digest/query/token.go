package query

import "bytes"

type kind uint8

const (
	space   kind = iota
	comment      // /* */, -- or #, but not /*! */, which the server runs
	literal      // a string, a number, NULL
	word         // a keyword or a name
	quoted       // a name between backticks
	sign         // anything else, one byte
)

// token returns the kind and length of the first token of a statement that is not empty. An open quote or comment ends with the text.
func token(b []byte, before byte) (kind, int) {
	c := b[0]
	switch {
	case isSpace(c):
		n := 1
		for n < len(b) && isSpace(b[n]) {
			n++
		}
		return space, n
	case c == '\'' || c == '"':
		return literal, quotedLen(b, c)
	case c == '`':
		return quoted, quotedLen(b, c)
	case c == '/' && len(b) > 2 && b[1] == '*':
		if b[2] == '!' {
			return sign, 1
		}
		return comment, through(b, "*/", 2)
	case c == '#', c == '-' && len(b) > 2 && b[1] == '-' && isSpace(b[2]):
		return comment, through(b, "\n", 1)
	case isDigit(c), c == '.' && len(b) > 1 && isDigit(b[1]) && !isName(before) && before != '`':
		return literal, numberLen(b)
	case isName(c):
		return nameToken(b)
	}
	return sign, 1
}

func nameToken(b []byte) (kind, int) {
	n := 1
	for n < len(b) && isName(b[n]) {
		n++
	}
	// x'4D', b'01', _utf8mb4'text'
	if n < len(b) && b[n] == '\'' && (n == 1 && bytes.IndexByte([]byte("xXbBnN"), b[0]) >= 0 || b[0] == '_') {
		return literal, n + quotedLen(b[n:], '\'')
	}
	if n == 4 && bytes.EqualFold(b[:4], []byte("null")) {
		return literal, n
	}
	return word, n
}

// quotedLen is the length of what begins with quote: doubled and escaped quotes are inside it.
func quotedLen(b []byte, quote byte) int {
	for i := 1; i < len(b); i++ {
		switch {
		case b[i] == '\\' && quote != '`':
			i++
		case b[i] == quote && i+1 < len(b) && b[i+1] == quote:
			i++
		case b[i] == quote:
			return i + 1
		}
	}
	return len(b)
}

// numberLen reads digits, a fraction, an exponent, and 0x4D.
func numberLen(b []byte) int {
	n := 1
	for n < len(b) && (isName(b[n]) || b[n] == '.' || (b[n] == '+' || b[n] == '-') && (b[n-1] == 'e' || b[n-1] == 'E') && b[0] != '0') {
		n++
	}
	return n
}

func through(b []byte, end string, from int) int {
	if i := bytes.Index(b[from:], []byte(end)); i >= 0 {
		return from + i + len(end)
	}
	return len(b)
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isName(c byte) bool {
	return c == '_' || c == '$' || c == '@' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c) || c >= 0x80
}
