package dataset

import (
	"fmt"
	"strings"
)

// shortEscapes are the control characters that JSON_QUOTE writes with a letter.
var shortEscapes = map[rune]string{'\b': `\b`, '\t': `\t`, '\n': `\n`, '\f': `\f`, '\r': `\r`, '"': `\"`, '\\': `\\`}

// EncodeTags makes the text of the column teams.tags: a JSON array of strings, each exactly as JSON_QUOTE writes it.
// MariaDB keeps the text as it is given, and its JSON_CONTAINS does not find a string that is escaped in another way,
// as encoding/json does with U+2028, "<" and lower-case hexadecimal digits. No tags are an empty array.
func EncodeTags(tags []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, tag := range tags {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for _, r := range tag {
			switch escape, short := shortEscapes[r]; {
			case short:
				b.WriteString(escape)
			case r < ' ':
				fmt.Fprintf(&b, `\u%04X`, r)
			default:
				b.WriteRune(r)
			}
		}
		b.WriteByte('"')
	}
	b.WriteByte(']')
	return b.String()
}
