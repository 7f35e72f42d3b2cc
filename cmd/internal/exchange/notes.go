package exchange

import (
	"fmt"
	"io"

	"isukit/proto/capture"
	"isukit/proto/decode"
)

// Notes prints each kind of note once, and in the end how often it came.
type Notes struct {
	Out   io.Writer
	seen  map[string]int
	order []string
}

func NewNotes(w io.Writer) *Notes {
	return &Notes{Out: w, seen: map[string]int{}}
}

const maxNoteKinds = 100

func (n *Notes) Add(note capture.Note) {
	if n.seen[note.Text] == 0 {
		if len(n.order) >= maxNoteKinds {
			return
		}
		n.order = append(n.order, note.Text)
		where := ""
		if note.Client.IsValid() {
			where = fmt.Sprintf("%s -> %s: ", note.Client, note.Server)
		}
		fmt.Fprintf(n.Out, "isukit: note: %s%s\n", where, decode.Terminal(note.Text))
	}
	n.seen[note.Text]++
}

func (n *Notes) Summary() {
	for _, text := range n.order {
		if count := n.seen[text]; count > 1 {
			fmt.Fprintf(n.Out, "isukit: note: %d times: %s\n", count, decode.Terminal(text))
		}
	}
}
