package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"isukit/bench/report"
	"isukit/bench/result"
)

const (
	// maxConns is how many connections are open at a time; others wait to be accepted.
	maxConns = 64
	// fileTime is for how long a client may take a file.
	fileTime = time.Hour
	// writeBytes is how much is sent at a time.
	writeBytes = 64 << 10
	// maxListedFiles bounds the files of a round that are served.
	maxListedFiles = 1000
)

func (h *roundServer) server() *http.Server {
	return &http.Server{Handler: h.handler(), ReadTimeout: 10 * time.Second, IdleTimeout: 15 * time.Second, MaxHeaderBytes: 16 << 10}
}

// roundList is what pages show of the rounds below dir. A record is read once, and again when its time or size changes.
type roundList struct {
	dir   string
	mu    sync.Mutex
	known map[string]listedRoundFiles // by id
	// last is the round that was read last as the one before another, which comes next.
	last   *result.Round
	lastID string
}

type listedRoundFiles struct {
	stamp string // of the record and of the round before it
	entry report.IndexEntry
	files []string
}

func (l *roundList) entries() ([]report.IndexEntry, error) {
	ids, err := result.IDs(l.dir)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known, entries := map[string]listedRoundFiles{}, make([]report.IndexEntry, len(ids))
	for i, id := range ids {
		before := ""
		if i+1 < len(ids) {
			before = ids[i+1]
		}
		known[id] = l.read(id, before)
		entries[i] = known[id].entry
		entries[i].Notes = result.Notes(l.dir, id)
	}
	l.known, l.last, l.lastID = known, nil, ""
	return entries, nil
}

func (l *roundList) has(id, path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.known[id]; !ok {
		l.known[id] = l.read(id, "")
	}
	return slices.Contains(l.known[id].files, path)
}

// read reads what is shown of a round and of the round before it.
func (l *roundList) read(id, before string) listedRoundFiles {
	stamp := before
	if st, err := os.Lstat(filepath.Join(l.dir, id, result.RoundFile)); err == nil {
		stamp += fmt.Sprint("/", st.Size(), st.ModTime().UnixNano())
	}
	if was, ok := l.known[id]; ok && was.stamp == stamp {
		return was
	}
	r, path, err := l.get(id)
	var earlier *result.Round
	if err == nil && before != "" {
		earlier, _, _ = l.get(before)
		l.last, l.lastID = earlier, before
	}
	now := listedRoundFiles{stamp: stamp, entry: report.IndexEntryOf(result.Entry{ID: id, Path: path, Round: r, Err: err}, earlier)}
	if r != nil {
		for _, a := range r.Artifacts[:min(len(r.Artifacts), maxListedFiles)] {
			if len(a.Path) < 1000 && filepath.IsLocal(a.Path) {
				now.files = append(now.files, a.Path)
			}
		}
	}
	return now
}

// get reads a round, which may be the one that was read last as the one before another.
func (l *roundList) get(id string) (r *result.Round, path string, err error) {
	if l.last != nil && l.lastID == id {
		return l.last, filepath.Join(l.dir, id), nil
	}
	r, path, err = result.Get(l.dir, id)
	if err == nil && r.ID != id {
		err = fmt.Errorf("its record is that of round %s", r.ID)
	}
	if err != nil {
		r = nil
	}
	return r, path, err
}

// patientWriter sends a little at a time, within patience each and until altogether: slow readers are served, others cut off.
type patientWriter struct {
	http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	until    time.Time
}

func (w *patientWriter) Write(p []byte) (n int, err error) {
	for part := range slices.Chunk(p, writeBytes) {
		if err := w.control.SetWriteDeadline(time.Now().Add(min(w.patience, time.Until(w.until)))); err != nil {
			return n, err
		}
		written, err := w.ResponseWriter.Write(part)
		if n += written; err != nil {
			return n, err
		}
	}
	return n, nil
}

// fewConns accepts a connection only when there are few.
type fewConns struct {
	net.Listener
	free chan struct{}
}

func (l *fewConns) Accept() (net.Conn, error) {
	l.free <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &countedConn{Conn: c, gone: sync.OnceFunc(func() { <-l.free })}, nil
}

type countedConn struct {
	net.Conn
	gone func()
}

func (c *countedConn) Close() error {
	defer c.gone()
	return c.Conn.Close()
}
