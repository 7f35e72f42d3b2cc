package observe

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"isukit/infra/digest/access"
	"isukit/infra/host"
	"isukit/input"
)

// Tail reads what is appended to a log, look by look.
type Tail struct {
	Host string
	mark Mark
	at   host.Host
	from int64
	rest []byte
}

// Seen is a request that was logged.
type Seen struct {
	At      time.Time // its end, by the host's clock; zero when not told
	Took    time.Duration
	Request string // "GET /path", without the query
}

// NewTail returns a tail of a marked log from its mark on.
func NewTail(m Mark, at host.Host) *Tail {
	return &Tail{Host: m.Log.Host, mark: m, at: at, from: m.size}
}

// tailBytes limits one read; more is skipped, as the question is only whether and when.
const tailBytes = 512 << 10

// Next returns the requests that were logged since the last call; of very many the last.
func (t *Tail) Next(ctx context.Context) ([]Seen, error) {
	text, size, err := t.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("inspect log %s of %s: %w", t.mark.Log.File, t.Host, err)
	}
	t.from = size
	t.rest = append(t.rest, text...)
	end := bytes.LastIndexByte(t.rest, '\n')
	if end < 0 {
		return nil, nil
	}
	lines := t.rest[:end+1]
	var seen []Seen
	format := t.mark.Log.Format
	if !access.IsLogFormat(format) {
		format = "" // the name of one, which only the server's configuration knows: the lines tell enough here
	}
	err = access.Each(bytes.NewReader(lines), format, t.mark.Zone, func(at time.Time, took time.Duration, method, path string) {
		seen = append(seen, Seen{at, took, method + " " + path})
	})
	t.rest = append([]byte(nil), t.rest[end+1:]...)
	return seen, err
}

func (t *Tail) read(ctx context.Context) (text []byte, size int64, err error) {
	if t.at.About().Here {
		text, size, err = t.readHere()
		if !os.IsPermission(err) {
			return text, size, err
		}
	}
	out, err := shell(ctx, t.at, commandLimit, asRoot+readAs+`n=$(try stat -c %s "$1") && echo "$n" && [ "$n" -gt "$2" ] &&
{ from=$2; [ $((n - from)) -gt $3 ] && from=$((n - $3)); $as tail -c +$((from + 1)) "$1" | head -c $((n - from)); }; true`,
		t.mark.Log.File, strconv.FormatInt(t.from, 10), strconv.Itoa(tailBytes))
	if err != nil {
		return nil, t.from, err
	}
	first, rest, _ := strings.Cut(out, "\n")
	size, err = strconv.ParseInt(first, 10, 64)
	return []byte(rest), size, err
}

func (t *Tail) readHere() ([]byte, int64, error) {
	f, err := input.Open(t.mark.Log.File)
	if err != nil {
		return nil, t.from, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, t.from, err
	}
	if st.Size() <= t.from {
		return nil, st.Size(), nil
	}
	from := max(t.from, st.Size()-tailBytes)
	text, err := io.ReadAll(io.NewSectionReader(f, from, st.Size()-from))
	return text, st.Size(), err
}
