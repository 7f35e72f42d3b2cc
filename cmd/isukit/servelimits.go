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
	// clientPatience is for how long a client may take none of what is sent to it.
	clientPatience = 20 * time.Second
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
}

type listedRoundFiles struct {
	stamp string
	entry report.IndexEntry
	files []string
}

// entries are all rounds, newest first.
func (l *roundList) entries() ([]report.IndexEntry, error) {
	ids, err := result.IDs(l.dir)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	known, entries := map[string]listedRoundFiles{}, make([]report.IndexEntry, len(ids))
	for i, id := range ids {
		known[id] = l.read(id)
		entries[i] = known[id].entry
	}
	l.known = known
	return entries, nil
}

// has reports whether a round's record lists a file.
func (l *roundList) has(id, path string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known[id] = l.read(id)
	return slices.Contains(l.known[id].files, path)
}

func (l *roundList) read(id string) listedRoundFiles {
	stamp := ""
	if st, err := os.Lstat(filepath.Join(l.dir, id, result.RoundFile)); err == nil {
		stamp = fmt.Sprint(st.Size(), st.ModTime().UnixNano())
	}
	if was, ok := l.known[id]; ok && stamp != "" && was.stamp == stamp {
		return was
	}
	r, path, err := result.Get(l.dir, id)
	if err == nil && r.ID != id {
		err = fmt.Errorf("its record is that of round %s", r.ID)
	}
	if err != nil {
		r = nil
	}
	now := listedRoundFiles{stamp: stamp, entry: report.IndexEntryOf(result.Entry{ID: id, Path: path, Round: r, Err: err})}
	if r != nil {
		for _, a := range r.Artifacts[:min(len(r.Artifacts), maxListedFiles)] {
			if len(a.Path) < 1000 && filepath.IsLocal(a.Path) {
				now.files = append(now.files, a.Path)
			}
		}
	}
	return now
}

// patientWriter sends a little at a time and waits for each as long as clientPatience: who reads slowly is served, who does not
// read at all is cut off.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (w *patientWriter) Write(p []byte) (n int, err error) {
	for part := range slices.Chunk(p, writeBytes) {
		if err := w.control.SetWriteDeadline(time.Now().Add(clientPatience)); err != nil {
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
