package result

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

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

// partLimits are those of a part: two of them are compared, and a route is the largest object that there is.
var partLimits = input.JSONLimits{Depth: 20, Objects: 80_000, Values: 2_000_000}

// readJSON reads at most MaxRoundBytes, and nothing whose decoding takes more than limits allow.
func readJSON(rd io.Reader, limits input.JSONLimits) ([]byte, error) {
	data, err := input.ReadFrom(rd, "it", MaxRoundBytes)
	if err != nil {
		return nil, err
	}
	return data, input.CheckJSON(data, limits)
}

// DecodePart reads a part of a round, such as a digest, into v; at most MaxRoundBytes of it.
func DecodePart(rd io.Reader, v any) error {
	data, err := readJSON(rd, partLimits)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return explain(data, err)
	}
	return nil
}

// Decode reads the content of a round.json, at most MaxRoundBytes of it.
func Decode(rd io.Reader) (*Round, error) {
	data, err := readJSON(rd, jsonLimits)
	if err != nil {
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

// idTime is the layout of the start time at the front of an ID.
const idTime = "20060102T150405Z"

// maxIDBytes bounds an ID: it is a directory's name, and a reader has to type parts of it.
const maxIDBytes = 128

// NewID returns the ID of a round of the named topology that started at the given time. Bytes of the topology's name that
// do not belong into a file name become '-'; Write adds "-2", "-3", ... when the ID is taken.
func NewID(start time.Time, topology string) string {
	name := strings.Map(func(r rune) rune {
		if idRune(r) {
			return r
		}
		return '-'
	}, topology)
	if name == "" {
		name = "round"
	}
	id := start.UTC().Format(idTime) + "-" + name
	return id[:min(len(id), maxIDBytes-8)]
}

// checkID returns an error unless id can be a directory's name on any system and is not hidden.
func checkID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("the round has no id")
	case len(id) > maxIDBytes:
		return fmt.Errorf("id of %d bytes is longer than %d", len(id), maxIDBytes)
	case id[0] == '.' || id[0] == '-':
		return fmt.Errorf("id %q begins with %q", id, id[0])
	}
	for _, r := range id {
		if !idRune(r) {
			return fmt.Errorf("id %q holds %q, which does not belong into a file name", id, r)
		}
	}
	return nil
}

func idRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

func nthID(id string, n int) string {
	if n == 1 {
		return id
	}
	return id + "-" + strconv.Itoa(n)
}

// Observed: the load was not isukit's; the record has the benchmark's command or output.
func (r *Round) Observed() bool { return r.Benchmark.ScoreFrom != "" }

// LoadTook is how long the load lasted, in seconds; otherwise the planned time, or 1, so that one can divide by it.
func (r *Round) LoadTook() float64 {
	if r.Observed() && r.LoadSeconds > 0 {
		return r.LoadSeconds // its phase may have waited for the end
	}
	for _, p := range r.Phases {
		if p.Name == "load" && p.DurationSeconds > 0 {
			return p.DurationSeconds
		}
	}
	if r.LoadSeconds > 0 {
		return r.LoadSeconds
	}
	return 1
}

// HitsPerSec is the rate of all hits over the load phase as it really lasted.
func (r *Round) HitsPerSec() float64 { return float64(r.All.Hits) / r.LoadTook() }

// Fact is the value of a fact, "" where the round has none of that key.
func (r *Round) Fact(key string) string {
	for _, f := range r.Facts {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}
