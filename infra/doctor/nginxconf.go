package doctor

import "strings"

// block is a directive of an nginx configuration; one with a body has Children.
type block struct {
	Words    []string
	Children []block
	File     string
	Line     int
}

// name is the directive's name.
func (b block) name() string { return b.Words[0] }

// maxBlocks bounds blocks inside blocks.
const maxBlocks = 16

// parseNginx reads a configuration, or what nginx -T prints, leniently: nginx itself has taken it.
func parseNginx(file, text string) []block {
	r := &nginxReader{file: file, line: 1, text: text}
	return r.blocks(0)
}

type nginxReader struct {
	file, text string
	line, at   int
}

func (r *nginxReader) blocks(depth int) []block {
	var list []block
	var words []string
	line := 0
	for {
		word, bare, ok := r.next()
		if !ok {
			return list
		}
		switch {
		case bare && word == "}":
			return list
		case bare && (word == ";" || word == "{"):
			if len(words) == 0 {
				continue
			}
			b := block{Words: words, File: r.file, Line: line}
			if word == "{" && depth < maxBlocks {
				b.Children = r.blocks(depth + 1)
			}
			list, words = append(list, b), nil
		default:
			if len(words) == 0 {
				line = r.line
			}
			words = append(words, word)
		}
	}
}

// next is the next word without its quotes, or one of ; { }, which are bare.
func (r *nginxReader) next() (word string, bare, ok bool) {
	r.skip()
	if r.at >= len(r.text) {
		return "", false, false
	}
	start := r.at
	switch c := r.text[r.at]; c {
	case ';', '{', '}':
		r.at++
		return string(c), true, true
	case '"', '\'':
		for r.at++; r.at < len(r.text) && r.text[r.at] != c; r.at++ {
			if r.text[r.at] == '\\' {
				r.at++
			}
			if r.at < len(r.text) && r.text[r.at] == '\n' {
				r.line++
			}
		}
		end := min(r.at, len(r.text))
		r.at = min(end+1, len(r.text))
		return r.text[start+1 : end], false, true
	}
	for ; r.at < len(r.text); r.at++ {
		c := r.text[r.at]
		if c == '$' && strings.HasPrefix(r.text[r.at:], "${") {
			if end := strings.IndexByte(r.text[r.at:], '}'); end > 0 {
				r.at += end
				continue
			}
		}
		if c == '\\' {
			r.at = min(r.at+1, len(r.text)-1)
			continue
		}
		if strings.IndexByte(" \t\r\n;{}", c) >= 0 {
			break
		}
	}
	return r.text[start:r.at], false, true
}

// dumped begins a file in what nginx -T prints.
const dumped = "# configuration file "

// skip goes over blanks and comments.
func (r *nginxReader) skip() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case '\n':
			r.line++
			r.at++
		case ' ', '\t', '\r':
			r.at++
		case '#':
			comment, _, _ := strings.Cut(r.text[r.at:], "\n")
			if file, ok := strings.CutPrefix(comment, dumped); ok {
				r.file, r.line = strings.TrimSuffix(file, ":"), 0
			}
			r.at += len(comment)
		default:
			return
		}
	}
}
