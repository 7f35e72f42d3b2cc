package ui

import "io"

const maxSaid = 64 << 10

// Tail keeps the last maxSaid bytes that are written to it.
type Tail struct{ Text []byte }

var _ io.Writer = (*Tail)(nil)

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.Text = append(t.Text, p...)
	if n := len(t.Text); n > 2*maxSaid {
		t.Text = append(t.Text[:0], t.Text[n-maxSaid:]...)
	}
	return len(p), nil
}

func (t *Tail) String() string { return string(t.Text[max(0, len(t.Text)-maxSaid):]) }
