package tune

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"isukit/infra/engine"
)

// Layer is where a setting has a value.
type Layer string

// The layers.
const (
	FileLayer    Layer = "file"    // what the next start reads
	PersistLayer Layer = "persist" // what the server itself keeps for its next start (MySQL's SET PERSIST)
	RuntimeLayer Layer = "runtime" // what is in force
	BootLayer    Layer = "boot"    // what the next boot of the host reads
)

// Write is one value that a tuning gave a key.
type Write struct {
	Tuning string
	Value  engine.Value
}

// Record is a key on one layer: its original, and the values of tunings in order. It is on disk before the layer is changed.
type Record struct {
	Target, Key string
	Layer       Layer
	File        string // of the file layer: where the key is
	Original    engine.Value
	Writes      []Write
	// Pending: a change has begun and its end was not recorded. Then any value of the record may be the current one.
	Pending bool
	// Held is a running value that is to be set again after a restart of the server; nil for none.
	Held *engine.Value
	At   time.Time // of the last write
	// Restart is the largest that one of the writes needs.
	Restart Restart
	// Process is the server that ran when a restart was asked for: while it still runs, the file has no effect.
	Process string
	// Reads is the variable of the running server that shows the effect, and the value to expect: "log_bin=OFF". It is for
	// settings that have no runtime layer.
	Reads string
}

func (r *Record) clone() *Record {
	c := *r
	c.Writes = slices.Clone(r.Writes)
	if r.Held != nil {
		held := *r.Held
		c.Held = &held
	}
	return &c
}

// last is the newest write; a record that a change is about has one.
func (r *Record) last() Write { return r.Writes[len(r.Writes)-1] }

// current is the value that should be in force.
func (r *Record) current() engine.Value {
	if n := len(r.Writes); n > 0 {
		return r.Writes[n-1].Value
	}
	return r.Original
}

// knows tells whether a value is one that this record explains.
func (r *Record) knows(v engine.Value) bool {
	if !r.Pending {
		return v.Equal(r.current())
	}
	if v.Equal(r.Original) {
		return true
	}
	for _, w := range r.Writes {
		if v.Equal(w.Value) {
			return true
		}
	}
	return false
}

const recordFormat = "isukit-tune 1"

// encode writes a record as lines of "WORD TEXT", which scripts/state.sh reads as well.
func (r *Record) encode() []byte {
	var b strings.Builder
	line := func(word, text string) { fmt.Fprintf(&b, "%s %s\n", word, escape(text)) }
	fmt.Fprintln(&b, recordFormat)
	line("target", r.Target)
	line("layer", string(r.Layer))
	line("key", r.Key)
	if r.File != "" {
		line("file", r.File)
	}
	line("original", encodeValue(r.Original))
	for _, w := range r.Writes {
		line("write", w.Tuning+" "+encodeValue(w.Value))
	}
	if r.Pending {
		line("pending", "yes")
	}
	if r.Held != nil {
		line("held", encodeValue(*r.Held))
	}
	line("at", r.At.UTC().Format(time.RFC3339))
	line("restart", string(r.Restart))
	if r.Process != "" {
		line("process", r.Process)
	}
	if r.Reads != "" {
		line("reads", r.Reads)
	}
	return []byte(b.String())
}

func encodeValue(v engine.Value) string {
	if v.Absent {
		return "absent"
	}
	return "value " + v.Text
}

// errRecord means that a record is unreadable; the original must not be guessed.
var errRecord = errors.New("not a record of isukit tune")

func decodeRecord(text []byte) (*Record, error) {
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || lines.Text() != recordFormat {
		return nil, fmt.Errorf("%w: it does not begin with %q", errRecord, recordFormat)
	}
	r := &Record{}
	for lines.Scan() {
		word, text, _ := strings.Cut(lines.Text(), " ")
		if err := r.set(word, unescape(text)); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if r.Key == "" || r.Layer == "" || len(r.Writes) == 0 && !r.Pending && r.Held == nil {
		return nil, fmt.Errorf("%w: key, layer or write is missing", errRecord)
	}
	return r, nil
}

func (r *Record) set(word, text string) (err error) {
	switch word {
	case "target":
		r.Target = text
	case "layer":
		r.Layer = Layer(text)
	case "key":
		r.Key = text
	case "file":
		r.File = text
	case "original":
		r.Original, err = decodeValue(text)
	case "write":
		tuning, rest, _ := strings.Cut(text, " ")
		var v engine.Value
		v, err = decodeValue(rest)
		r.Writes = append(r.Writes, Write{tuning, v})
	case "pending":
		r.Pending = text == "yes"
	case "held":
		var v engine.Value
		v, err = decodeValue(text)
		r.Held = &v
	case "at":
		r.At, err = time.Parse(time.RFC3339, text)
	case "restart":
		r.Restart = Restart(text)
	case "process":
		r.Process = text
	case "reads":
		r.Reads = text
	default:
		err = fmt.Errorf("unknown line %q", word)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	return nil
}

func decodeValue(text string) (engine.Value, error) {
	if text == "absent" {
		return engine.Value{Absent: true}, nil
	}
	v, ok := strings.CutPrefix(text, "value ")
	if !ok {
		return engine.Value{}, fmt.Errorf("%q is not a value", text)
	}
	return engine.Value{Text: v}, nil
}

var (
	escaper   = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
	unescaper = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")
)

func escape(text string) string   { return escaper.Replace(text) }
func unescape(text string) string { return unescaper.Replace(text) }
