package access

import (
	"bytes"
	"fmt"
	"strings"
)

// shape is a log_format taken apart: variables with the literal text that follows each.
type shape struct {
	prefix string
	parts  []shapePart
	// rest is set when a line may go on after the last part, raw when the server escapes nothing in quotes.
	rest, raw bool
}

type shapePart struct {
	known known
	until string // "" is the end of the line
	// quoted says that the field stands in quotes, afterHost that a host may precede the path.
	quoted, afterHost bool
}

// parseShape takes a log_format as nginx has it, such as '$remote_addr [$time_local] "$request" $status $request_time'.
func parseShape(format string) (shape, error) {
	found := variable.FindAllStringIndex(format, -1)
	if len(found) == 0 {
		return shape{}, fmt.Errorf("the log format %q names no variable such as $status", format)
	}
	s := shape{prefix: format[:found[0][0]]}
	told := map[field]bool{}
	before := s.prefix
	for i, at := range found {
		name := strings.Trim(format[at[0]+1:at[1]], "{}")
		end := len(format)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		part := shapePart{known: names[name], until: format[at[1]:end]}
		part.quoted = strings.HasSuffix(before, `"`) && strings.HasPrefix(part.until, `"`)
		told[part.known.field] = true
		if i > 0 && before == "" {
			if err := s.join(part); err != nil {
				return shape{}, fmt.Errorf("the log format has nothing between $%s and the variable before it", name)
			}
		} else {
			s.parts = append(s.parts, part)
		}
		before = part.until
	}
	if !told[fieldRequest] && !told[fieldURI] {
		return shape{}, fmt.Errorf("the log format %q has neither $request nor $request_uri", format)
	}
	return s, nil
}

// join adds a variable that directly follows another. Only a path can be separated from its neighbours: a host before, a query after.
func (s *shape) join(next shapePart) error {
	last := &s.parts[len(s.parts)-1]
	switch {
	case last.known.field == other && next.known.field == fieldURI:
		last.known, last.afterHost = next.known, true
	case next.known.field != other || last.known.field != fieldURI && last.known.field != other:
		return fmt.Errorf("%v cannot be told apart", last.known)
	}
	last.quoted = last.quoted || next.quoted || strings.HasPrefix(next.until, `"`)
	last.until = next.until
	return nil
}

// match reads a line by its shape.
func (s *shape) match(line []byte, e *entry) bool {
	if !bytes.HasPrefix(line, []byte(s.prefix)) {
		return false
	}
	line = line[len(s.prefix):]
	for i := range s.parts {
		part := &s.parts[i]
		last := i == len(s.parts)-1
		end := len(line)
		switch {
		case last && s.rest:
			if end = bytes.IndexByte(line, ' '); end < 0 {
				end = len(line) // nothing follows
			}
		case part.quoted && !s.raw:
			end = quoteEnd(line, part.until)
		case !last || part.until != "":
			end = bytes.Index(line, []byte(part.until))
		}
		if end < 0 {
			return false
		}
		value := line[:end]
		line = line[min(len(line), end+len(part.until)):]
		if part.afterHost {
			value = value[max(0, bytes.IndexByte(value, '/')):]
		}
		if part.known.field != other && !e.set(part.known, value) {
			return false
		}
	}
	if s.rest && !s.raw {
		e.setRest(line)
	}
	return true
}

// quoteEnd finds where a quoted field ends: at the first until, which begins with the closing quote, that no backslash escapes. A
// server that escapes nothing may leave a backslash before the quote: where no other is found, that one is it.
func quoteEnd(line []byte, until string) int {
	first := bytes.Index(line, []byte(until))
	for at := first; at >= 0; {
		backslashes := 0
		for backslashes < at && line[at-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return at
		}
		next := bytes.Index(line[at+1:], []byte(until))
		if next < 0 {
			break
		}
		at += 1 + next
	}
	return first
}
