package ui

import (
	"strings"
	"time"
)

// ShortTime is a time as one would type it: 1m in place of 1m0s.
func ShortTime(d time.Duration) string {
	text := d.String()
	for _, none := range []string{"0s", "0m"} {
		if rest, ok := strings.CutSuffix(text, none); ok && strings.HasSuffix(rest, "m") || ok && strings.HasSuffix(rest, "h") {
			text = rest
		}
	}
	return text
}
