package load

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const maxHistogramLine = 256 << 10

// The beginnings of tags: a tag has the start that its histogram counts from, and its endpoint.
const (
	tagIntended = "intended:"
	tagSent     = "sent:"
)

// Interval holds the latencies of one endpoint's hits that ended in one second of a load.
type Interval struct {
	Endpoint string
	// FromSent: the latencies count from when the hits were sent, and not from their scheduled time.
	FromSent bool
	// At is the second's beginning, in seconds from the start of the load.
	At        int
	histogram *hdrhistogram.PackedHistogram
}

// Latencies are those of intervals that were merged. Use NewLatencies.
type Latencies struct{ histogram *hdrhistogram.PackedHistogram }

// NewLatencies returns the latencies of no hit.
func NewLatencies() *Latencies { return &Latencies{sparse()} }

// Merge adds an interval's hits. All intervals have the same buckets, so nothing is lost.
func (l *Latencies) Merge(i Interval) { l.histogram.Merge(i.histogram) }

// Latency returns the quantiles of all that was merged.
func (l *Latencies) Latency() Latency { return latencyOf(l.histogram) }

// WriteHistograms writes the latencies so far as an HdrHistogram log, format 1.3: a line for each endpoint and second in which
// hits were answered, from intended and from sent, in microseconds. Tags are "intended:" or "sent:" and the endpoint's name,
// escaped as in a URL; times are seconds, the first column's from the start of the load, and the greatest value of a line
// is in milliseconds.
func (r *Recorder) WriteHistograms(w io.Writer) error {
	r.flush()
	r.mu.Lock()
	defer r.mu.Unlock()
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "#[Latencies in microseconds, by endpoint and second]\n#[Histogram log format version 1.3]\n")
	fmt.Fprintf(b, "#[StartTime: %d.%03d (seconds since epoch), %s]\n", r.start.Unix(), r.start.Nanosecond()/1e6,
		r.start.UTC().Format("2006-01-02T15:04:05Z"))
	fmt.Fprintln(b, `"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"`)
	for at, s := range r.seconds {
		if s == nil {
			continue
		}
		for e, c := range s.cells {
			if err := writeCell(b, r.names[e], at, c); err != nil {
				return fmt.Errorf("write histograms: %w", err)
			}
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write histograms: %w", err)
	}
	return nil
}

func writeCell(b *bufio.Writer, name string, at int, c *cell) error {
	if c == nil {
		return nil
	}
	intended, sent := sparse(), sparse()
	c.mergeInto(intended, sent)
	for _, of := range []struct {
		tag string
		h   *hdrhistogram.PackedHistogram
	}{{tagIntended, intended}, {tagSent, sent}} {
		code, err := of.h.Encode()
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "Tag=%s%s,%d.000,1.000,%.3f,%s\n", of.tag, escapeTag(name), at, float64(of.h.Max())/1000, code)
	}
	return nil
}

// escapeTag escapes what may not stand in a tag, and what unescaping would take for an escape.
func escapeTag(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c == ',' || c == '%' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// ReadHistograms yields the intervals of WriteHistograms. An error is its last; a truncated log yields its beginning first.
func ReadHistograms(r io.Reader) iter.Seq2[Interval, error] {
	return func(yield func(Interval, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxHistogramLine)
		for n := 1; lines.Scan(); n++ {
			line := lines.Text()
			if line == "" || line[0] == '#' || line[0] == '"' {
				continue
			}
			i, err := parseInterval(line)
			if err != nil {
				yield(Interval{}, fmt.Errorf("read histograms: line %d: %w", n, err))
				return
			}
			if !yield(i, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Interval{}, fmt.Errorf("read histograms: %w", err))
		}
	}
}

// parseInterval reads "Tag=intended:GET%20/,3.000,1.000,12.345,HIST...".
func parseInterval(line string) (Interval, error) {
	var i Interval
	columns := strings.Split(line, ",")
	if len(columns) != 5 {
		return i, fmt.Errorf("%d columns, want 5", len(columns))
	}
	tag, tagged := strings.CutPrefix(columns[0], "Tag=")
	name, ofIntended := strings.CutPrefix(tag, tagIntended)
	if !ofIntended {
		name, i.FromSent = strings.CutPrefix(tag, tagSent)
	}
	if !tagged || ofIntended == i.FromSent {
		return i, fmt.Errorf("tag %.60q is neither of intended nor of sent", columns[0])
	}
	var err error
	if i.Endpoint, err = url.PathUnescape(name); err != nil {
		return i, err
	}
	at, err := strconv.ParseFloat(columns[1], 64)
	if err != nil || at < 0 || at > math.MaxInt32 || at != math.Trunc(at) {
		return i, fmt.Errorf("%.20q is not a second of a load", columns[1])
	}
	i.At = int(at)
	if i.histogram, err = hdrhistogram.DecodePacked([]byte(columns[4])); err != nil {
		return i, err
	}
	if h := i.histogram; h.SignificantFigures() != digits || h.HighestTrackableValue() != longest.Microseconds() || h.LowestTrackableValue() != 1 {
		return i, errors.New("histogram with other buckets than ours")
	}
	return i, nil
}
