package round

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"

	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra"
	"isukit/infra/host"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/infra/topology"
)

// measurement is what a round of the portal gathers, with what the load itself writes.
type measurement struct {
	*gathering
	running *infra.Running
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

// profileFiles are the profiles as they came.
func (r *gathering) profileFiles() (files []result.File) {
	for _, p := range r.recorded {
		files = append(files, result.File{Path: path.Join("profiles", p.File), About: p.Name + " of " + p.Host, Write: func(w io.Writer, _ *result.Round) error {
			_, err := w.Write(p.Raw)
			return err
		}})
	}
	return files
}
