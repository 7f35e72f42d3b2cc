package query

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/digest"
)

// Options say how slow logs are read; the zero value takes every statement.
type Options struct {
	// From and To bound the window, To itself outside; zero is no bound. A statement's time is that of its start, as the log
	// tells it, mostly to the second.
	From, To time.Time
}

// Bounds of the input.
const (
	maxStatement = 64 << 10 // of a longer statement the beginning is looked at
	maxExamples  = 10
	exampleSize  = 200
	ctxLines     = 10_000
)

// Digester takes slow logs one after another.
type Digester struct {
	opts Options
	g    gatherer
}

// New returns a Digester.
func New(opts Options) *Digester {
	return &Digester{opts: opts, g: gatherer{queries: map[string]*Query{}}}
}

// Window sets the window of the logs that are read from now on, for a host whose clock differs.
func (d *Digester) Window(from, to time.Time) { d.opts.From, d.opts.To = from, to }

// Read digests one slow log to its end, which is unpacked when it is gzip. name stands for it where entries of it are shown.
// A read error leaves what was read until then in the digest.
func (d *Digester) Read(ctx context.Context, name string, from io.Reader) error {
	buffered, err := digest.Unpack(from)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	p := slowParser{digester: d, name: name}
	defer p.flush()
	for n := int64(1); ; n++ {
		line, err := readLine(buffered)
		if len(line) > 0 {
			p.line(n, line)
		}
		if err == io.EOF {
			return nil
		}
		if err == nil && n%ctxLines == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
}

// Digest returns what was read so far; the Digester takes no more afterwards.
func (d *Digester) Digest() *Digest { return d.g.digest() }

// readLine returns the next line with its end, cut at maxStatement. It is valid until the next call.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	line = slices.Clone(line[:min(len(line), maxStatement+1)])
	for err == bufio.ErrBufferFull {
		_, err = r.ReadSlice('\n')
	}
	return line, err
}

// slowParser reads one log. An entry is some header lines, perhaps "use" and "SET timestamp", and the statement.
type slowParser struct {
	digester *Digester
	name     string
	entry    entry
	begun    int64 // line of the entry's first header; 0 when none is open
	body     bool  // the statement has begun
	// at is the last time that a header told, database what "use" said last: both are written only when they change.
	at       time.Time
	database string
}

func (p *slowParser) line(n int64, line []byte) {
	if name, ok := p.header(line); ok {
		// Inside a statement only these begin the next entry: a statement may have lines that look like headers.
		if p.body && (name == "Time" || name == "User@Host") {
			p.flush()
		}
		if !p.body {
			if p.begun == 0 {
				p.begun = n
			}
			p.fields(line[1:])
			return
		}
	}
	if isServerStart(line, p.body) {
		p.flush()
		return
	}
	if !p.body && p.begun > 0 && (isRemark(line) || p.preamble(line)) {
		return
	}
	if p.begun == 0 && len(bytes.TrimSpace(line)) == 0 {
		return
	}
	if p.begun == 0 {
		p.begun = n
	}
	p.body = true
	if room := maxStatement - len(p.entry.statement); room > 0 {
		p.entry.statement = append(p.entry.statement, line[:min(len(line), room)]...)
	}
	p.entry.whole = len(p.entry.statement) < maxStatement
}

// headers are the first names of header lines.
var headers = []string{"Time", "User@Host", "Thread_id", "Query_time", "Schema", "Rows_affected", "Rows_sent", "Bytes_sent", "Bytes_received",
	"Full_scan", "Filesort", "Tmp_tables", "Tmp_table_sizes", "QC_hit", "QC_Hit", "InnoDB_trx_id", "InnoDB_IO_r_ops", "Pages_accessed", "Pages_prefetched",
	"Pages_updated", "Stored_routine", "Log_slow_rate_type", "Last_errno", "explain", "Killed", "Errno"}

func (p *slowParser) header(line []byte) (name string, ok bool) {
	if len(line) < 3 || line[0] != '#' || line[1] != ' ' {
		return "", false
	}
	for _, h := range headers {
		if len(line) > len(h)+2 && string(line[2:2+len(h)]) == h && line[2+len(h)] == ':' {
			return h, true
		}
	}
	return "", bytes.HasPrefix(line, []byte("# No InnoDB statistics")) || bytes.HasPrefix(line, []byte("#   InnoDB_"))
}

// fields reads "Name: value  Name: value" of a header line.
func (p *slowParser) fields(text []byte) {
	rest := string(text)
	if value, ok := strings.CutPrefix(strings.TrimSpace(rest), "Time:"); ok {
		p.at = headerTime(strings.TrimSpace(value))
		return
	}
	if strings.HasPrefix(rest, " User@Host:") || strings.HasPrefix(rest, " explain:") {
		return
	}
	words := strings.Fields(rest)
	for i := 0; i+1 < len(words); i++ {
		name, ok := strings.CutSuffix(words[i], ":")
		if !ok || strings.HasSuffix(words[i+1], ":") {
			continue
		}
		p.field(name, words[i+1])
	}
}

func (p *slowParser) field(name, value string) {
	e := &p.entry
	switch name {
	case "Query_time":
		e.took, e.timed = secondsOf(value)
	case "Lock_time":
		e.lock, _ = secondsOf(value)
	case "Rows_sent":
		e.sent, _ = strconv.ParseInt(value, 10, 64)
	case "Rows_examined":
		e.looked, _ = strconv.ParseInt(value, 10, 64)
	case "Rows_affected":
		e.affected, _ = strconv.ParseInt(value, 10, 64)
	case "Schema":
		e.database = value
	}
}

func secondsOf(text string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f > 1e9 {
		return 0, false
	}
	return time.Duration(f*1e6+0.5) * time.Microsecond, true
}

// headerTime reads MySQL's "2026-11-22T20:15:03.123456Z". MariaDB's "261122 20:15:03" is in a zone that the log does not
// tell; the statement's own timestamp is used then.
func headerTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// preamble takes the lines between headers and statement.
func (p *slowParser) preamble(line []byte) bool {
	text := strings.TrimSpace(string(line[:min(len(line), 200)]))
	if value, ok := cutFold(text, "SET timestamp="); ok {
		value = strings.TrimSuffix(value, ";")
		if f, err := strconv.ParseFloat(value, 64); err == nil && f < 1e11 {
			p.entry.at = time.UnixMicro(int64(f * 1e6))
			return true
		}
	}
	if value, ok := cutFold(text, "use "); ok && strings.HasSuffix(value, ";") && !strings.ContainsAny(value[:len(value)-1], " ;") {
		p.database = strings.Trim(value, "`;")
		return true
	}
	if value, ok := cutFold(text, "SET last_insert_id="); ok && strings.HasSuffix(value, ";") {
		return true
	}
	return false
}

func cutFold(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || !strings.EqualFold(text[:len(prefix)], prefix) {
		return "", false
	}
	return text[len(prefix):], true
}

// isRemark finds header lines without a name that is known; an administrator's command stands in place of a statement.
func isRemark(line []byte) bool {
	return line[0] == '#' && !bytes.HasPrefix(line, []byte("# administrator command: "))
}

// isServerStart finds the three lines that a server writes when it opens the log. The first of them ends a statement, too.
func isServerStart(line []byte, inStatement bool) bool {
	if bytes.Contains(line, []byte(", Version: ")) && bytes.HasSuffix(bytes.TrimSpace(line), []byte("started with:")) {
		return true
	}
	return !inStatement && (bytes.HasPrefix(line, []byte("Tcp port: ")) || bytes.HasPrefix(line, []byte("TCP Port: ")) ||
		bytes.HasPrefix(line, []byte("Time")) && bytes.Contains(line, []byte("Id Command")))
}

// flush ends the entry that is open.
func (p *slowParser) flush() {
	e, begun, body := p.entry, p.begun, p.body
	p.entry, p.begun, p.body = entry{statement: p.entry.statement[:0]}, 0, false
	if begun == 0 || !body && !e.timed {
		return
	}
	g := &p.digester.g
	g.out.Statements++
	e.statement = bytes.TrimSpace(e.statement)
	if !e.timed || len(e.statement) == 0 {
		g.out.Unreadable++
		if len(g.out.Examples) < maxExamples {
			text := e.statement[:min(len(e.statement), exampleSize)]
			g.out.Examples = append(g.out.Examples, Unreadable{p.name, begun, string(text)})
		}
		return
	}
	e.database = cmp.Or(e.database, p.database)
	if e.at.IsZero() {
		e.at = p.at
	}
	o := p.digester.opts
	if (!o.From.IsZero() || !o.To.IsZero()) && (e.at.IsZero() || e.at.Before(o.From) || !o.To.IsZero() && !e.at.Before(o.To)) {
		g.out.Outside++
		return
	}
	g.add(&e)
}
