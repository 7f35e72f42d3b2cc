package sqltext

import "strings"

// tokenKind is what a token is.
type tokenKind uint8

const (
	word    tokenKind = iota // keyword or plain identifier; text is upper-cased
	quoted                   // `identifier`, without its quotes
	literal                  // string or number; only a number has a text
	sysvar                   // @@name
	uservar                  // @name
	punct                    // one character; ":=" is one token
)

type token struct {
	kind tokenKind
	text string
	call bool // a word or quoted name directly followed by '('

	pos, end int // where it stands in the text
}

// scanner splits a statement into tokens as the servers do. Plain comments vanish; the content of executable comments
// (/*! and /*M!) is scanned like other text, since a server may run it. Double quotes are strings, as with the servers'
// default sql_mode.
type scanner struct {
	text string
	pos  int
	exec bool // inside an executable comment

	flaws flaws
}

// flaws are what makes a text another one for another server, or unreadable.
type flaws struct {
	open   bool // a quote or comment that does not end
	exec   bool // it has comments that some servers execute
	setVar bool // it has a hint that sets a variable
}

// tokens returns the tokens of text, and what is wrong with it.
func tokens(text string) ([]token, flaws) {
	s := scanner{text: text}
	list := make([]token, 0, 16+len(text)/8)
	for {
		s.skipBlank()
		start := s.pos
		t, ok := s.next()
		if !ok {
			s.flaws.open = s.flaws.open || s.exec
			return list, s.flaws
		}
		t.pos, t.end = start, s.pos
		list = append(list, t)
	}
}

func (s *scanner) next() (token, bool) {
	if s.pos >= len(s.text) {
		return token{}, false
	}
	c := s.text[s.pos]
	switch {
	case c == '\'' || c == '"':
		s.pos = s.quoteEnd(c)
		return token{kind: literal}, true
	case c == '`':
		start := s.pos + 1
		s.pos = s.quoteEnd(c)
		name := strings.TrimSuffix(s.text[start:s.pos], "`")
		return token{kind: quoted, text: strings.ReplaceAll(name, "``", "`"), call: s.callFollows()}, true
	case c == '@':
		return s.variable(), true
	case isDigit(c):
		return s.number(), true
	case isWordByte(c):
		start := s.pos
		s.skipWord()
		return token{kind: word, text: strings.ToUpper(s.text[start:s.pos]), call: s.callFollows()}, true
	case c == ':' && s.has(":="):
		s.pos += 2
		return token{kind: punct, text: ":="}, true
	}
	s.pos++
	return token{kind: punct, text: s.text[s.pos-1 : s.pos]}, true
}

// number reads a number, or a name that begins with a digit, which the servers allow.
func (s *scanner) number() token {
	start := s.pos
	s.skipWord()
	t := s.text[start:s.pos]
	if len(t) > 2 && t[0] == '0' && (t[1] == 'x' && strings.Trim(t[2:], "0123456789abcdefABCDEF") == "" || t[1] == 'b' && strings.Trim(t[2:], "01") == "") {
		return token{kind: literal, text: t}
	}
	for i := range len(t) {
		if !isDigit(t[i]) && t[i] != 'e' && t[i] != 'E' && t[i] != 'x' && t[i] != 'b' {
			return token{kind: quoted, text: t}
		}
	}
	return token{kind: literal, text: t}
}

func (s *scanner) variable() token {
	kind := uservar
	s.pos++
	if s.pos < len(s.text) && s.text[s.pos] == '@' {
		kind = sysvar
		s.pos++
	}
	start := s.pos
	if s.pos < len(s.text) && strings.IndexByte("'\"`", s.text[s.pos]) >= 0 {
		s.pos = s.quoteEnd(s.text[s.pos])
	} else {
		for s.pos < len(s.text) && (isWordByte(s.text[s.pos]) || s.text[s.pos] == '.') {
			s.pos++
		}
	}
	return token{kind: kind, text: strings.ToUpper(s.text[start:s.pos])}
}

func (s *scanner) skipWord() {
	for s.pos < len(s.text) && isWordByte(s.text[s.pos]) {
		s.pos++
	}
}

// skipBlank moves past white space, comments and the marks of executable comments.
func (s *scanner) skipBlank() {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c <= ' ':
			s.pos++
		case c == '#':
			s.skipTo("\n")
		case s.has("--") && (s.pos+2 == len(s.text) || s.text[s.pos+2] <= ' '):
			s.skipTo("\n")
		case s.has("/*!"), s.has("/*M!"):
			s.pos += strings.IndexByte(s.text[s.pos:], '!') + 1
			for s.pos < len(s.text) && isDigit(s.text[s.pos]) {
				s.pos++
			}
			s.exec, s.flaws.exec = true, true
		case s.has("/*"):
			start := s.pos
			s.pos += 2
			if !s.skipTo("*/") {
				s.flaws.open = true
			}
			if hint := s.text[start:s.pos]; strings.HasPrefix(hint, "/*+") && strings.Contains(strings.ToUpper(hint), "SET_VAR") {
				s.flaws.setVar = true
			}
		case s.exec && s.has("*/"):
			s.pos += 2
			s.exec = false
		default:
			return
		}
	}
}

// skipTo moves past the next end, or, when there is none, to the end of the text.
func (s *scanner) skipTo(end string) bool {
	i := strings.Index(s.text[s.pos:], end)
	if i < 0 {
		s.pos = len(s.text)
		return false
	}
	s.pos += i + len(end)
	return true
}

// quoteEnd returns the position after the quoted text. Doubled quotes stay inside; a backslash escapes except in backticks.
func (s *scanner) quoteEnd(quote byte) int {
	for i := s.pos + 1; i < len(s.text); i++ {
		switch {
		case s.text[i] == '\\' && quote != '`':
			i++
		case s.text[i] == quote && i+1 < len(s.text) && s.text[i+1] == quote:
			i++
		case s.text[i] == quote:
			return i + 1
		}
	}
	s.flaws.open = true
	return len(s.text)
}

// callFollows reports whether the next character is '(' (blanks are allowed, as with sql_mode IGNORE_SPACE).
func (s *scanner) callFollows() bool {
	i := s.pos
	for i < len(s.text) && s.text[i] <= ' ' {
		i++
	}
	return i < len(s.text) && s.text[i] == '('
}

func (s *scanner) has(prefix string) bool { return strings.HasPrefix(s.text[s.pos:], prefix) }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
