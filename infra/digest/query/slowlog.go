package query

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/input"
)

// Options are how to read slow logs; the zero value takes every statement.
type Options struct {
	// From and To bound the window, To itself outside; zero is unbounded. A statement's time is that of its start in the log: MySQL's to
	// the microsecond, MariaDB's to the second.
	From, To time.Time
	// Groups gather queries: what one of them matches, the first counting, is one query, which has its text as fingerprint.
	Groups []*regexp.Regexp
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
	return &Digester{opts: opts, g: gatherer{groups: opts.Groups, queries: map[string]*Query{}}}
}

// Window sets the window of the logs that are read from now on, for a host whose clock differs.
func (d *Digester) Window(from, to time.Time) { d.opts.From, d.opts.To = from, to }

// Read digests one slow log to its end, and unpacks gzip. After a read error the digest contains what was read before.
func (d *Digester) Read(ctx context.Context, name string, from io.Reader) error {
	buffered, err := input.Unpack(from)
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

// slowParser reads one log. An entry is the text between two headers: header lines, perhaps "use", "SET timestamp", and the statement,
// which may be another of these two.
type slowParser struct {
	digester *Digester
	name     string
	entry    entry
	begun    int64 // line of the entry's first header; 0 when none is open
	// stage is how much of the entry has been read.
	stage stage
	// lead is the last line of the preamble, which is the statement where nothing else is.
	lead []byte
	// at is the last time that a header told, database what "use" said last: both are written only when they change.
	at       time.Time
	database string
	// ahead is the time of the header that was looked at last, until it is read.
	ahead time.Time
}

type stage uint8

const (
	inHeader stage = iota
	inPreamble
	inBody
)

func (p *slowParser) line(n int64, line []byte) {
	if name, ok := p.header(line); ok {
		if p.stage != inHeader && p.begins(name, line) {
			p.flush()
		}
		if p.stage == inHeader {
			if p.begun == 0 {
				p.begun = n
			}
			p.fields(line[1:])
			return
		}
	}
	if isServerStart(line, p.stage == inBody) && p.complete() {
		p.flush()
		return
	}
	if p.stage != inBody && p.begun > 0 && (p.preamble(line) || p.stage == inHeader && isRemark(line)) {
		return
	}
	if p.begun == 0 && len(bytes.TrimSpace(line)) == 0 {
		return
	}
	if p.begun == 0 {
		p.begun = n
	}
	p.stage = inBody
	if room := maxStatement - len(p.entry.statement); room > 0 {
		p.entry.statement = append(p.entry.statement, line[:min(len(line), room)]...)
	}
	p.entry.whole = len(p.entry.statement) < maxStatement
}

// begins separates the next entry's header from a similar line in a statement: a header comes after a closed statement and its semicolon.
func (p *slowParser) begins(name string, line []byte) bool {
	switch name {
	case "Time":
		if p.ahead = headerTime(line[len("# Time:"):]); p.ahead.IsZero() && !shortTime.Match(line) {
			return false
		}
	case "User@Host":
		if !bytes.Contains(line, []byte("] @ ")) {
			return false
		}
	default:
		return false
	}
	return p.complete()
}

// complete tells whether the entry may end here.
func (p *slowParser) complete() bool {
	text := p.entry.statement
	return p.stage != inBody || !p.entry.whole || bytes.HasSuffix(bytes.TrimRight(text, "\r\n"), []byte(";")) && isClosed(text)
}

// shortTime is how MariaDB writes a header's time: "# Time: 261122 20:15:03", the hour perhaps with one digit.
var shortTime = regexp.MustCompile(`^# Time: \d{6} +\d{1,2}:\d\d:\d\d\s*$`)

// isClosed: neither a quote nor a comment of a statement is open, whether or not the server takes a backslash for an escape.
func isClosed(text []byte) bool {
	if bytes.IndexByte(text, '#') < 0 && bytes.IndexByte(text, '\\') < 0 && !bytes.Contains(text, []byte("/*")) && !bytes.Contains(text, []byte("--")) {
		single, double, name := bytes.Count(text, []byte("'")), bytes.Count(text, []byte(`"`)), bytes.Count(text, []byte("`"))
		if all := single + double + name; all%2 == 0 && (all == single || all == double || all == name) {
			return true // quotes of one kind
		}
	}
	return endsOutside(text) || bytes.IndexByte(text, '\\') >= 0 && endsOutside(bytes.ReplaceAll(text, []byte(`\`), []byte("x")))
}

// endsOutside tells whether the last semicolon of a statement is outside quotes and /* */.
func endsOutside(text []byte) bool {
	last := bytes.LastIndexByte(text, ';')
	var before byte
	for at := 0; at <= last; {
		if text[at] == '/' && bytes.HasPrefix(text[at:], []byte("/*")) {
			end := bytes.Index(text[at+2:], []byte("*/")) // also /*! */, whose words token reads one by one
			if end < 0 {
				return false
			}
			at, before = at+end+4, '/'
			continue
		}
		kind, n := token(text[at:], before)
		// The server puts its semicolon also after a statement that ends in a comment to the end of the line.
		if at += n; at > last+1 {
			return kind == comment
		}
		before = text[at-1]
	}
	return last >= 0
}

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
	if value, ok := bytes.CutPrefix(text, []byte(" Time:")); ok {
		if p.at = p.ahead; p.at.IsZero() {
			p.at = headerTime(value)
		}
		p.entry.ended, p.ahead = p.at, time.Time{}
		return
	}
	if bytes.HasPrefix(text, []byte(" User@Host:")) || bytes.HasPrefix(text, []byte(" explain:")) {
		return
	}
	var name []byte
	for word := range bytes.FieldsSeq(text) {
		if ends := word[len(word)-1] == ':'; ends {
			name = word[:len(word)-1]
		} else if name != nil {
			p.field(name, word)
			name = nil
		}
	}
}

func (p *slowParser) field(name, value []byte) {
	e := &p.entry
	switch string(name) {
	case "Query_time":
		e.took, e.timed = secondsOf(string(value))
	case "Lock_time":
		e.lock, _ = secondsOf(string(value))
	case "Rows_sent":
		e.sent, _ = strconv.ParseInt(string(value), 10, 64)
	case "Rows_examined":
		e.looked, _ = strconv.ParseInt(string(value), 10, 64)
	case "Rows_affected":
		e.affected, _ = strconv.ParseInt(string(value), 10, 64)
	case "Schema":
		e.database = string(value)
	case "Log_slow_rate_limit":
		n, _ := strconv.ParseInt(string(value), 10, 64)
		p.digester.g.out.Sampled = max(p.digester.g.out.Sampled, n)
	}
}

func secondsOf(text string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f > 1e9 {
		return 0, false
	}
	return time.Duration(f*1e6+0.5) * time.Microsecond, true
}

// headerTime reads MySQL's "2026-11-22T20:15:03.123456Z". MariaDB's "261122 20:15:03" has no zone; the statement's own timestamp is used
// then.
func headerTime(text []byte) time.Time {
	t, err := time.Parse(time.RFC3339Nano, string(bytes.TrimSpace(text)))
	if err != nil {
		return time.Time{}
	}
	return t
}

// preamble takes the lines that the server puts between headers and statement: "use" at most once, then SET with the timestamp.
// What follows that is the statement, also where it reads the same.
func (p *slowParser) preamble(line []byte) bool {
	if len(line) < 4 || !bytes.EqualFold(line[:4], []byte("SET ")) && !bytes.EqualFold(line[:4], []byte("use ")) {
		return false
	}
	text, complete := strings.CutSuffix(strings.TrimSpace(string(line[:min(len(line), 300)])), ";")
	if !complete || len(p.entry.statement) > 0 || p.entry.set {
		return false
	}
	taken := false
	if value := text[4:]; text[0]|0x20 == 's' {
		taken = p.assignments(value)
		p.entry.set = taken
	} else if !p.entry.used && !strings.ContainsAny(value, " ;") {
		p.database, taken, p.entry.used = strings.Trim(value, "`"), true, true
	}
	if taken {
		p.stage, p.lead = inPreamble, append(p.lead[:0], line...)
	}
	return taken
}

// assignments reads "last_insert_id=3,insert_id=4,timestamp=1792009600".
func (p *slowParser) assignments(text string) bool {
	var at time.Time
	for one := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(one, "=")
		f, err := strconv.ParseFloat(value, 64)
		switch strings.ToLower(name) {
		case "timestamp":
			if at = time.UnixMicro(int64(f * 1e6)); f >= 1e11 {
				return false
			}
		case "insert_id", "last_insert_id":
		default:
			return false
		}
		if err != nil {
			return false
		}
	}
	if !at.IsZero() {
		p.entry.at = at
	}
	return true
}

// isRemark finds header lines without a known name; an administrator's command replaces a statement.
func isRemark(line []byte) bool {
	return line[0] == '#' && !bytes.HasPrefix(line, []byte("# administrator command: "))
}

// isServerStart finds the three lines that a server writes when it opens the log. The first of them ends a statement, too.
func isServerStart(line []byte, inStatement bool) bool {
	if bytes.HasSuffix(line, []byte("started with:\n")) || bytes.HasSuffix(line, []byte("started with:\r\n")) {
		if at := bytes.Index(line, []byte(", Version: ")); at > 0 && bytes.IndexByte(line, ' ') > at {
			return true
		}
	}
	return !inStatement && (bytes.HasPrefix(line, []byte("Tcp port: ")) || bytes.HasPrefix(line, []byte("TCP Port: ")) ||
		bytes.HasPrefix(line, []byte("Time")) && bytes.Contains(line, []byte("Id Command")))
}

// flush ends the entry that is open.
func (p *slowParser) flush() {
	e, begun, at := p.entry, p.begun, p.stage
	p.entry, p.begun, p.stage = entry{statement: p.entry.statement[:0]}, 0, inHeader
	if begun == 0 || at == inHeader && !e.timed {
		return
	}
	if at == inPreamble {
		e.statement, e.whole = p.lead, true
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
	if !e.ended.IsZero() {
		e.at = e.ended.Add(-e.took) // even if the session has set its timestamp
	}
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
