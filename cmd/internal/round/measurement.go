package round

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"
	"time"

	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/infra/topology"
	"isukit/proto/capture"
)

// measurement is what a round of the portal gathers, with what the load itself writes.
type measurement struct {
	*gathering
	running *infra.Running
	driver  host.Driver
	hits    *hitLog        // nil when no hit is kept
	counted *load.Recorder // nil before there is an engine
	traffic *roundCapture  // nil without --capture
	keys    *os.File       // nil without --keylog
}

// newMeasurement finds what there is to gather of servers that run, with the tunings of the round.
func (o Options) newMeasurement(ctx context.Context, running *infra.Running, tuned *tunedRound, view *ui.RoundView) *measurement {
	m := &measurement{running: running, gathering: newGathering(view.Step, nil)}
	m.own, m.tuned, m.named = true, tuned, map[string]host.Host{}
	for _, h := range tuned.sub.Hosts {
		m.named[h.Name] = h.At
	}
	for _, i := range running.Instances {
		m.places = append(m.places, i.Dir, i.Name)
		for _, addr := range []string{i.Addr, i.DebugAddr} {
			if _, port, err := net.SplitHostPort(addr); err == nil {
				m.places = append(m.places, ":"+port, ":"+i.Name)
			}
		}
		if i.Role == string(topology.Proxy) {
			m.logs.Access = append(m.logs.Access, project.Log{Host: i.Host, File: filepath.Join(i.Dir, "access.log")})
		}
	}
	m.openDatabases()
	for _, d := range m.databases {
		if file := d.SlowLog(ctx); file != "" {
			m.logs.Slow = append(m.logs.Slow, project.Log{Host: d.Host, File: file})
		}
	}
	// A profile must have its end within the load.
	seconds := int((o.Duration - profileDelay - time.Second).Seconds())
	if seconds < 1 || o.Shape == "capacity" {
		return m
	}
	for _, i := range running.Instances {
		if i.Role != string(topology.Web) && i.Role != string(topology.API) {
			continue
		}
		app := observe.App{Name: i.Name, Pprof: project.Pprof{Host: i.Host, URL: "http://" + i.DebugAddr, Kinds: []string{"cpu"}, Seconds: min(seconds, 20)}}
		if dial := running.Dial(); dial != nil {
			app.Client = &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
		}
		m.apps = append(m.apps, app)
	}
	return m
}

// around gathers from now until the function that it returns is called.
func (m *measurement) around(ctx context.Context) (done func()) {
	m.readSchemas(ctx)
	w := m.watch(ctx)
	m.began = time.Now()
	m.profile(w)
	return func() {
		m.ended = time.Now()
		w.stop()
	}
}

// artifacts saves the logs into a temporary directory, from which they are copied into the record; drop removes it.
func (m *measurement) artifacts(ctx context.Context, record *result.Round) (files []result.File, drop func(), err error) {
	dir, err := os.MkdirTemp("", "isukit-logs-")
	if err != nil {
		return nil, nil, err
	}
	drop = func() { os.RemoveAll(dir) }
	saved, err := m.running.SaveLogs(ctx, dir)
	if errors.Is(err, host.ErrUnreachable) {
		record.Warnings = append(record.Warnings, err.Error())
	} else if err != nil {
		drop()
		return nil, nil, err
	}
	if m.hits != nil {
		files = append(files, m.hits.Artifact())
	}
	for _, a := range saved {
		files = append(files, result.File{Path: filepath.ToSlash(a.Path), About: a.About, Write: func(w io.Writer, _ *result.Round) error {
			f, err := os.Open(filepath.Join(dir, a.Path))
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(w, f)
			return err
		}})
	}
	return append(files, m.profileFiles()...), drop, nil
}

func (r *gathering) profileFiles() (files []result.File) {
	for _, p := range r.recorded {
		files = append(files, result.File{Path: path.Join("profiles", p.File), About: p.Name + " of " + p.Host, Write: func(w io.Writer, _ *result.Round) error {
			_, err := w.Write(p.Raw)
			return err
		}})
	}
	return files
}

// HitsFile is the name of the hit log inside a round's directory.
const HitsFile = "hits"

// hitLog takes a round's hits while it runs. Its file has no name, so that nothing stays behind, whatever happens.
type hitLog struct {
	File   *os.File
	Writer *load.HitWriter
}

// NewHitLog returns an empty log; the caller closes its file.
func NewHitLog() (*hitLog, error) {
	f, err := os.CreateTemp("", "isukit-hits-")
	if err != nil {
		return nil, fmt.Errorf("create the hit log: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("create the hit log: %w", err), f.Close())
	}
	return &hitLog{File: f, Writer: load.NewHitWriter(f)}, nil
}

// Artifact is the log as a file of the record; the load must be over.
func (h *hitLog) Artifact() result.File {
	return result.File{Path: HitsFile, About: "every request of the load phase, for isukit hits", Write: func(w io.Writer, _ *result.Round) error {
		if err := h.Writer.Flush(); err != nil {
			return err
		}
		if _, err := h.File.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("read the hit log back: %w", err)
		}
		_, err := io.Copy(w, h.File)
		return err
	}}
}

// HistogramsFile is the name of the histograms inside a round's directory.
const HistogramsFile = "latency.hlog"

// Histograms are those of a recorder as a file of the record; the load must be over.
func Histograms(rec *load.Recorder) result.File {
	return result.File{Path: HistogramsFile, About: "latencies by endpoint and second, for isukit latency", Write: func(w io.Writer, _ *result.Round) error {
		return rec.WriteHistograms(w)
	}}
}

// roundCapture writes a share of the generator's connections into a capture, which isukit capture reads.
type roundCapture struct {
	file   *os.File
	rec    *capture.Recorder
	share  float64
	dialed atomic.Int64
	// connect makes the connections.
	connect func(ctx context.Context, network, addr string) (net.Conn, error)
}

// newRoundCapture makes the file, unless it exists. share is the part of the connections, in (0,1], that is written.
func newRoundCapture(path string, share float64) (*roundCapture, error) {
	file, err := newFile("--capture", path)
	if err != nil {
		return nil, err
	}
	rec, err := capture.NewRecorder(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &roundCapture{file: file, rec: rec, share: share, connect: (&net.Dialer{KeepAlive: -1}).DialContext}, nil
}

// newFile makes the file that an option names, for its owner alone. One that is there already is not overwritten.
func newFile(option, path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, ui.UsageError(fmt.Errorf("%s: %w", option, err), "name a file that does not exist yet")
	}
	return file, nil
}

// CheckNewFile finds out before anything starts whether newFile will make the file; "" is none.
func CheckNewFile(option, path string) error {
	if path == "" {
		return nil
	}
	file, err := newFile(option, path)
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(path))
}

// dial is a dialler for the load engine. Which connections are written depends on their number alone, spread evenly.
func (c *roundCapture) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	n := c.dialed.Add(1)
	if int64(float64(n)*c.share) == int64(float64(n-1)*c.share) {
		return conn, nil
	}
	return c.rec.Conn(conn)
}

// close ends the file; it is an error if the capture is incomplete.
func (c *roundCapture) close() error {
	return errors.Join(c.rec.Flush(), c.file.Close())
}
