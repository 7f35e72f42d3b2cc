package result

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"isukit/input"
)

// RoundFile is the name of the record inside a round's directory.
const RoundFile = "round.json"

// MaxRoundBytes limits round.json: Write and Read refuse a larger one.
const MaxRoundBytes = 32 << 20

const maxSameID = 1000

// File is an artifact that Write puts next to round.json.
type File struct {
	// Path is relative to the round's directory, with forward slashes ("hosts/s1/access.log").
	Path string
	// About says in a few words what the file is.
	About string
	// Write fills the file; it is called once, with the final ID and the artifacts before this one.
	Write func(w io.Writer, r *Round) error
}

// Write lays the round down as dir/<id>/ with round.json and the given files, and returns that directory's path. The
// directory appears whole or not at all, and one that exists is left alone: the id gets "-2", "-3", ... instead. r.Format,
// r.ID and r.Artifacts are set to what is on disk.
func Write(dir string, r *Round, files ...File) (string, error) {
	if err := checkID(r.ID); err != nil {
		return "", fmt.Errorf("write round: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("write round %s: %w", r.ID, err)
	}
	id, tmp, err := claim(dir, r.ID)
	if err != nil {
		return "", fmt.Errorf("write round %s: %w", r.ID, err)
	}
	path := filepath.Join(dir, id)
	r.Format, r.ID, r.Artifacts = FormatVersion, id, nil
	if err := fill(tmp, r, files); err != nil {
		return "", errors.Join(fmt.Errorf("write round %s: %w", id, err), os.RemoveAll(tmp))
	}
	// rename never replaces a directory that holds anything, so a round that came from elsewhere in the meantime stays.
	if err := os.Rename(tmp, path); err != nil {
		return "", errors.Join(fmt.Errorf("write round %s: %w", id, err), os.RemoveAll(tmp))
	}
	return path, syncDir(dir)
}

// claim makes the hidden directory in which a round is prepared. Its name holds the id, so that of two writers with one
// id only one gets it; one that a killed writer left behind costs the next round of that second a "-2".
func claim(dir, want string) (id, tmp string, err error) {
	for n := 1; n <= maxSameID; n++ {
		id = nthID(want, n)
		tmp = filepath.Join(dir, "."+id+".tmp")
		if err := os.Mkdir(tmp, 0o755); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return "", "", err
		}
		_, err := os.Lstat(filepath.Join(dir, id))
		if errors.Is(err, fs.ErrNotExist) {
			return id, tmp, nil
		}
		if err := errors.Join(err, os.Remove(tmp)); err != nil {
			return "", "", err
		}
	}
	return "", "", fmt.Errorf("%d rounds of that id exist already in %s", maxSameID, dir)
}

func fill(tmp string, r *Round, files []File) error {
	for _, f := range files {
		if err := writeArtifact(tmp, r, f); err != nil {
			return err
		}
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", RoundFile, err)
	}
	if len(data) >= MaxRoundBytes {
		return fmt.Errorf("%s would have %d bytes, more than the %d that are read back", RoundFile, len(data), MaxRoundBytes)
	}
	_, err = writeFile(filepath.Join(tmp, RoundFile), func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	return syncTree(tmp)
}

func writeArtifact(tmp string, r *Round, f File) error {
	if !filepath.IsLocal(f.Path) || filepath.Clean(f.Path) == RoundFile {
		return fmt.Errorf("artifact %q: not a path inside the round's directory", f.Path)
	}
	path := filepath.Join(tmp, filepath.FromSlash(f.Path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("artifact %s: %w", f.Path, err)
	}
	n, err := writeFile(path, func(w io.Writer) error { return f.Write(w, r) })
	if err != nil {
		return fmt.Errorf("artifact %s: %w", f.Path, err)
	}
	r.Artifacts = append(r.Artifacts, Artifact{Path: f.Path, SizeBytes: n, About: f.About})
	return nil
}

// writeFile makes a new file, has it filled, and returns its size once it is on the disk.
func writeFile(path string, fill func(io.Writer) error) (sizeBytes int64, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	if err := fill(w); err != nil {
		return 0, err
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), f.Sync()
}

// syncTree makes the names in a directory and in those below it durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncDir(path)
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Note is a person's text about a round. Notes are files next to the rounds, as a round is never changed.
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

// Notes are those about a round, oldest first. Files that are not notes are skipped.
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
