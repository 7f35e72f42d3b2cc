package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"isukit/input"
)

// NewerFormatError says that a round was written by an isukit newer than this one.
type NewerFormatError struct {
	// Format is the version that the record has; FormatVersion is the newest that is understood.
	Format int
}

func (e *NewerFormatError) Error() string {
	return fmt.Sprintf("round format %d is newer than %d, the newest that this isukit reads", e.Format, FormatVersion)
}

// Read returns the round at path, which is a round's directory or its round.json. A record of a newer format gives a
// NewerFormatError; one with a field that its format does not have is refused as well, since a figure that is silently
// left out cannot be missed by anyone.
func Read(path string) (*Round, error) {
	if filepath.Base(path) != RoundFile {
		path = filepath.Join(path, RoundFile)
	}
	dir, err := input.OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("read round: %w", err)
	}
	defer dir.Close()
	return readIn(dir, path)
}

// readIn reads the record in a round's directory; path is what errors call it.
func readIn(dir *input.Dir, path string) (*Round, error) {
	f, err := dir.Open(RoundFile)
	if err != nil {
		return nil, fmt.Errorf("read round: %w", err)
	}
	defer f.Close()
	r, err := Decode(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return r, nil
}

// OpenFile opens a file of the round whose directory is at path, as Find returns it. A name that leads out of the directory, by
// itself or by a link, and one of anything but a regular file are errors.
func OpenFile(path, name string) (*os.File, error) {
	dir, err := input.OpenDir(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Open(name)
}

// jsonLimits bound what a record costs in memory. One of 32 MiB that isukit wrote has a tenth of these objects, as each of them has
// the names of its fields.
var jsonLimits = input.JSONLimits{Depth: 20, Objects: 200_000, Values: 2_000_000}

// Decode reads the content of a round.json, at most MaxRoundBytes of it.
func Decode(rd io.Reader) (*Round, error) {
	data, err := input.ReadFrom(rd, "it", MaxRoundBytes)
	if err != nil {
		return nil, err
	}
	if err := input.CheckJSON(data, jsonLimits); err != nil {
		return nil, err
	}
	if err := checkFormat(data); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	r := new(Round)
	if err := dec.Decode(r); err != nil {
		return nil, explain(data, err)
	}
	if err := checkID(r.ID); err != nil {
		return nil, err
	}
	return r, nil
}

// checkFormat looks at nothing but the version, so that a newer record is called newer and not damaged.
func checkFormat(data []byte) error {
	var head struct {
		Format *int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return explain(data, err)
	}
	switch {
	case head.Format == nil:
		return errors.New(`not a round: the field "format" is missing`)
	case *head.Format > FormatVersion:
		return &NewerFormatError{Format: *head.Format}
	case *head.Format < 1:
		return fmt.Errorf("not a round: format %d", *head.Format)
	}
	return nil
}

// explain adds the line to a JSON error, and to an unknown field what it means.
func explain(data []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("line %d: damaged JSON: %w", lineAt(data, syntax.Offset), err)
	}
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) {
		return fmt.Errorf("line %d: %w", lineAt(data, typ.Offset), err)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("round format %d has no field %s: written by another isukit, or by hand", FormatVersion, field)
	}
	return err
}

func lineAt(data []byte, offset int64) int {
	end := min(max(offset, 0), int64(len(data)))
	return 1 + bytes.Count(data[:end], []byte("\n"))
}
