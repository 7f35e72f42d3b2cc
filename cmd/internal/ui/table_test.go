package ui

import (
	"bytes"
	"testing"
)

// TestSignals holds which words have a colour, and that a table stays aligned.
func TestSignals(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"TARGET  DID      KEY\ndb      drifted  x  y\n", "TARGET  DID      KEY\ndb      \x1b[31mdrifted\x1b[0m  x  y\n"},
		{"score  1  2  BETTER\n", "score  1  2  \x1b[32mBETTER\x1b[0m\n"},
		{"id  5  FAIL  a server failed and left\n", "id  5  \x1b[31mFAIL\x1b[0m  a server failed and left\n"},
		{"name  a table's last cell that is longer than the terminal is wide\n", "name  a table's last cell that is longer than the…\n"},
		{"what was left of it was refused\n", "what was left of it was refused\n"},
	} {
		var out bytes.Buffer
		w := &signalWriter{w: &out, color: true, width: 50}
		for _, b := range []byte(tt.in) { // as tables are written: in pieces
			if _, err := w.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != tt.want {
			t.Errorf("got %q, want %q", out.String(), tt.want)
		}
	}
}
