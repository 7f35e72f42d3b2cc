package result

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"isukit/input"
)

// Note is what somebody wrote about a round. Notes lie beside the rounds, a file each, as a round is never changed.
type Note struct {
	At   time.Time `json:"at"`
	By   string    `json:"by,omitempty"`
	Text string    `json:"text"` // words that begin with # are tags
}

const (
	notesDir     = ".notes"
	noteExt      = ".json"
	maxNotes     = 200 // of a round
	maxNoteBytes = 4096
)

// AddNote keeps a note about a round, which must exist. Any number may be added at a time.
func AddNote(dir, id string, n Note) error {
	n.Text = strings.TrimSpace(n.Text)
	if n.Text == "" || len(n.Text)+len(n.By) > maxNoteBytes {
		return fmt.Errorf("a note has 1 to %d bytes of text", maxNoteBytes)
	}
	if _, err := os.Lstat(filepath.Join(dir, id, RoundFile)); err != nil || checkID(id) != nil {
		return ErrNoRound
	}
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // no link leads out of it
	if err != nil {
		return fmt.Errorf("keep a note: %w", err)
	}
	defer root.Close()
	name := fmt.Sprintf("%s/%s/%020d-%s", notesDir, id, n.At.UnixNano(), rand.Text())
	err = root.MkdirAll(path.Dir(name), 0o755)
	if err == nil {
		err = root.WriteFile(name+".part", text, 0o644)
	}
	if err == nil {
		err = root.Rename(name+".part", name+noteExt)
	}
	if err != nil {
		return fmt.Errorf("keep a note: %w", err)
	}
	return nil
}

// Notes are those about a round, oldest first. What is not a note is passed over.
func Notes(dir, id string) []Note {
	one, err := openID(dir, notesDir+"/"+id)
	if err != nil {
		return nil
	}
	defer one.Close()
	entries, _ := os.ReadDir(filepath.Join(dir, notesDir, id)) // in order of time
	var notes []Note
	for _, e := range entries[:min(len(entries), maxNotes)] {
		if !strings.HasSuffix(e.Name(), noteExt) {
			continue
		}
		f, err := one.Open(e.Name())
		if err != nil {
			continue
		}
		text, err := input.ReadFrom(f, e.Name(), 2*maxNoteBytes)
		f.Close()
		var n Note
		if err == nil && json.Unmarshal(text, &n) == nil && n.Text != "" {
			notes = append(notes, n)
		}
	}
	return notes
}
