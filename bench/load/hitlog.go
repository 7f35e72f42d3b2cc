package load

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
)

// The hit log is a sequence of records. The first byte of each is its type; all numbers are varints.
//
//	file:     "isukit-hits 1\n", then records
//	'E' name: the next endpoint: length and bytes; endpoints count from 0
//	'H' hit:  user, endpoint, kind, status, received bytes, intended, sent - intended, done - sent
//
// Intended counts in microseconds from the start of the load, signed, as the difference to the hit before; the two durations count in
// microseconds. Hits are not in order of time.
const hitLogHead = "isukit-hits 1\n"

const maxEndpointName = 4096

// HitWriter writes a hit log. Give it to a Recorder, and call Flush when the load is over.
type HitWriter struct {
	w        *bufio.Writer
	named    int
	intended int64
	rec      []byte
}

// NewHitWriter returns a writer of a hit log to w; it has written nothing yet.
func NewHitWriter(w io.Writer) *HitWriter {
	h := &HitWriter{w: bufio.NewWriterSize(w, 64<<10)}
	h.w.WriteString(hitLogHead) // a bufio.Writer keeps its first error for Flush
	return h
}

// write appends hits; names are those of all endpoints so far. It is called by one recorder, one call at a time.
func (h *HitWriter) write(hits []Hit, names []string) error {
	for ; h.named < len(names); h.named++ {
		b := append(h.rec[:0], 'E')
		b = binary.AppendUvarint(b, uint64(len(names[h.named])))
		h.rec = append(b, names[h.named]...)
		if _, err := h.w.Write(h.rec); err != nil {
			return fmt.Errorf("write hit log: %w", err)
		}
	}
	for i := range hits {
		h.rec = h.append(h.rec[:0], &hits[i])
		if _, err := h.w.Write(h.rec); err != nil {
			return fmt.Errorf("write hit log: %w", err)
		}
	}
	return nil
}

func (h *HitWriter) append(b []byte, hit *Hit) []byte {
	intended, sent, done := hit.Intended.Microseconds(), hit.Sent.Microseconds(), hit.Done.Microseconds()
	b = append(b, 'H')
	for _, v := range [...]uint64{
		uint64(hit.User), uint64(hit.Endpoint), uint64(hit.Kind), uint64(hit.Status), uint64(hit.ReceivedBytes),
	} {
		b = binary.AppendUvarint(b, v)
	}
	b = binary.AppendVarint(b, intended-h.intended)
	b = binary.AppendVarint(b, sent-intended)
	b = binary.AppendVarint(b, done-sent)
	h.intended = intended
	return b
}

// Flush writes what is still held back, and returns the first error that writing met.
func (h *HitWriter) Flush() error {
	if err := h.w.Flush(); err != nil {
		return fmt.Errorf("write hit log: %w", err)
	}
	return nil
}

// LoggedHit is a hit as it is read back, with microsecond precision.
type LoggedHit struct {
	Hit
	Name string // the endpoint's
}

// ReadHits yields the hits of a log in the order in which they were counted. After an error, which is its last, it ends; a
// log that was cut off yields what it has and then io.ErrUnexpectedEOF, wrapped.
func ReadHits(r io.Reader) iter.Seq2[LoggedHit, error] {
	return func(yield func(LoggedHit, error) bool) {
		d := hitReader{r: bufio.NewReaderSize(r, 64<<10)}
		err := d.head()
		for err == nil {
			var hit LoggedHit
			hit, err = d.next()
			if err == nil && !yield(hit, nil) {
				return
			}
		}
		if err != io.EOF {
			yield(LoggedHit{}, fmt.Errorf("read hit log: %w", err))
		}
	}
}

type hitReader struct {
	r        *bufio.Reader
	names    []string
	intended int64
}

func (d *hitReader) head() error {
	var b [len(hitLogHead)]byte
	n, err := io.ReadFull(d.r, b[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	if string(b[:n]) != hitLogHead {
		return errors.New("not a hit log of version 1")
	}
	return nil
}

// next returns the next hit; io.EOF at the end.
func (d *hitReader) next() (LoggedHit, error) {
	for {
		tag, err := d.r.ReadByte()
		switch {
		case err != nil:
			return LoggedHit{}, err
		case tag == 'H':
			return d.hit()
		case tag != 'E':
			return LoggedHit{}, fmt.Errorf("unknown record %q", tag)
		}
		if err := d.name(); err != nil {
			return LoggedHit{}, err
		}
	}
}

func (d *hitReader) name() error {
	n, err := binary.ReadUvarint(d.r)
	if err != nil {
		return cutOff(err)
	}
	if n > maxEndpointName || len(d.names) > 1<<16 {
		return fmt.Errorf("endpoint name of %d bytes, or too many of them", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		return cutOff(err)
	}
	d.names = append(d.names, string(b))
	return nil
}

func (d *hitReader) hit() (LoggedHit, error) {
	var u [5]uint64
	for i := range u {
		v, err := binary.ReadUvarint(d.r)
		if err != nil {
			return LoggedHit{}, cutOff(err)
		}
		u[i] = v
	}
	var t [3]int64
	for i := range t {
		v, err := binary.ReadVarint(d.r)
		if err != nil {
			return LoggedHit{}, cutOff(err)
		}
		t[i] = v
	}
	if u[1] >= uint64(len(d.names)) || u[2] >= uint64(kinds) {
		return LoggedHit{}, fmt.Errorf("hit of endpoint %d and kind %d, which are unknown", u[1], u[2])
	}
	d.intended += t[0]
	us := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	return LoggedHit{Name: d.names[u[1]], Hit: Hit{
		User: int32(u[0]), Endpoint: Endpoint(u[1]), Kind: Kind(u[2]), Status: uint16(u[3]), ReceivedBytes: uint32(u[4]),
		Intended: us(d.intended), Sent: us(d.intended + t[1]), Done: us(d.intended + t[1] + t[2]),
	}}, nil
}

// cutOff tells an end in the middle of a record from one between records.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ExportCSV writes hits as CSV with a header line. Times are seconds from the start of the load. An error of the hits ends it.
func ExportCSV(w io.Writer, hits iter.Seq2[LoggedHit, error]) error {
	return export(w, hits, "user,endpoint,kind,status,received_bytes,intended_s,sent_s,done_s\n", "%d,%s,%s,%d,%d,%.6f,%.6f,%.6f\n", func(name string) string {
		if strings.ContainsAny(name, ",\"\r\n") {
			return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
		}
		return name
	})
}

// ExportJSONLines writes hits as one JSON object a line, with the keys and units of ExportCSV.
func ExportJSONLines(w io.Writer, hits iter.Seq2[LoggedHit, error]) error {
	const line = `{"user":%d,"endpoint":%s,"kind":"%s","status":%d,"received_bytes":%d,"intended_s":%.6f,"sent_s":%.6f,"done_s":%.6f}` + "\n"
	return export(w, hits, "", line, func(name string) string {
		text, _ := json.Marshal(name) // a string always encodes
		return string(text)
	})
}

func export(w io.Writer, hits iter.Seq2[LoggedHit, error], head, line string, quote func(string) string) error {
	b := bufio.NewWriter(w)
	b.WriteString(head) // a bufio.Writer keeps its first error for Flush
	names := map[string]string{}
	for h, err := range hits {
		if err != nil {
			b.Flush()
			return err
		}
		name, ok := names[h.Name]
		if !ok {
			name = quote(h.Name)
			names[h.Name] = name
		}
		fmt.Fprintf(b, line, h.User, name, h.Kind, h.Status, h.ReceivedBytes, h.Intended.Seconds(), h.Sent.Seconds(), h.Done.Seconds())
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write hits: %w", err)
	}
	return nil
}
