package infra

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/redact"
	"isukit/infra/topology"
)

// The log files of an instance, in its directory.
const (
	outputLog = "output.log" // what its program printed
	errorLog  = "error.log"
	accessLog = "access.log"
	slowLog   = "slow.log"
)

// wait is for an instance that was started to become healthy.
type wait struct {
	at       host.Host
	host     string // its name in the topology
	instance string
	called   string // as errors call the instance
	port     int
	client   *http.Client
	url      string // what it answers with a status below 500 when it is
	limit    time.Duration
	logTail  func() string
}

func (w wait) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.limit, fmt.Errorf("not healthy within %v", w.limit))
	defer cancel()
	last := "no answer"
	for {
		code, err := status(ctx, w.client, w.url)
		switch {
		case err == nil && code < 500:
			last = ""
		case err == nil:
			last = fmt.Sprintf("status %d", code)
		case ctx.Err() == nil:
			last = err.Error()
		}
		st, err := w.at.State(context.WithoutCancel(ctx), w.instance)
		if err != nil {
			return err
		}
		if !st.Running { // whoever answers is another
			return w.whyEnded(st)
		}
		if last == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not healthy (%w; GET %s: %s); the end of its log:\n%s", w.called, context.Cause(ctx), w.url, last, w.logTail())
		case <-time.After(pause(w.at, 10*time.Millisecond)):
		}
	}
}

// whyEnded explains a service that ended before it was healthy.
func (w wait) whyEnded(st host.State) error {
	log := w.logTail()
	err := fmt.Errorf("%s ended before it was healthy (%s); the end of its log:\n%s", w.called, st.Exit, log)
	switch {
	case st.OutOfMemory:
		return &HintError{fmt.Errorf("%w\nit was killed: the memory of %s did not suffice", err, w.host), "place less on that host, or give it more memory"}
	case strings.Contains(log, "ddress already in use") || strings.Contains(log, "bind() to") || strings.Contains(log, "cannot bind"):
		return &HintError{err, fmt.Sprintf("port %d is taken by another program: stop that, or give %s another port", w.port, w.instance)}
	case strings.Contains(log, "No space left on device"):
		return &HintError{err, "make room on the disk of " + w.host}
	}
	return err
}

func status(ctx context.Context, client *http.Client, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, err
}

// waitHTTP waits until an instance answers GET path with a status below 500.
func (r *Running) waitHTTP(ctx context.Context, i Instance, path string) error {
	w := wait{
		at: r.at(i.Host), host: i.Host, instance: i.Name, called: i.Name, port: r.input.Places[i.Name].Port, client: r.client, url: "http://" + i.Addr + path,
		limit: r.spec.healthLimit(), logTail: func() string { return r.logTail(i) },
	}
	if t, ok := r.input.Topology.Instance(i.Name); ok && t.Role == topology.Proxy {
		w.url = r.input.URLOf(t) + path
	}
	return w.run(ctx)
}

// Mark notes what runs now, for Ended to tell what was started again since.
func (r *Running) Mark(ctx context.Context) { r.marked, _ = r.states(ctx) }

// states are those of all instances, by name; why, by host, where it cannot be asked.
func (r *Running) states(ctx context.Context) (all map[string]host.State, away map[string]error) {
	all, away = map[string]host.State{}, map[string]error{}
	for _, h := range r.input.Topology.Hosts {
		states, _, err := statesOf(ctx, r.at(h.Name), r.input.Topology.On(h.Name))
		if err != nil {
			away[h.Name] = err
		}
		for _, i := range r.input.Topology.On(h.Name) {
			if st, ok := states[i.Name]; ok {
				all[i.Name] = st
			}
		}
	}
	return all, away
}

// Ended tells which hosts cannot be asked, which instances have ended by themselves, each with how and the end of its log, and which were
// started again since Mark; none is good.
func (r *Running) Ended(ctx context.Context) []string {
	var list []string
	states, away := r.states(ctx)
	for _, name := range sortedKeys(away) {
		list = append(list, away[name].Error())
	}
	for _, i := range r.Instances {
		st, was := states[i.Name], r.marked[i.Name]
		switch {
		case away[i.Host] != nil:
		case was.Running && st.Running && was.PID != st.PID:
			list = append(list, fmt.Sprintf("%s on %s was started again at %s: it ended, or its host booted; the end of its log:\n%s", i.Name, i.Host, st.Since.Format(time.TimeOnly), r.logTail(i)))
		case st.OutOfMemory:
			_, memory := r.Size(i.Host)
			list = append(list, fmt.Sprintf("%s on %s was killed by the kernel: out of memory (the host has %d MiB); the end of its log:\n%s", i.Name, i.Host, memory>>20, r.logTail(i)))
		case !st.Running:
			list = append(list, fmt.Sprintf("%s ended (%s); the end of its log:\n%s", i.Name, st.Exit, r.logTail(i)))
		}
	}
	return list
}

func (r *Running) logTail(i Instance) string {
	var text []byte
	for _, name := range []string{errorLog, outputLog} {
		if b, err := r.tailOn(context.Background(), i, name, 16<<10); err == nil {
			text = append(text, b...)
		}
	}
	return redact.Known(tailOf(text), r.secrets...)
}

// tailOf is the last lines of a program's output.
func tailOf(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// Secrets are those that were made for this run: what is kept of it must not have them.
func (r *Running) Secrets() []string { return r.secrets }

// watch returns a channel that is closed when the service ends. stop ends the watching and waits for it.
func watch(ctx context.Context, h host.Host, name string) (exited <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ch, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			if st, err := h.State(ctx, name); err == nil && !st.Running {
				close(ch)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause(h, 20*time.Millisecond)):
			}
		}
	}()
	return ch, func() { cancel(); <-done }
}

// pause is how long to wait between two questions to a host: those to another machine are a process here and one there.
func pause(h host.Host, here time.Duration) time.Duration {
	if h.About().Here {
		return here
	}
	return 10 * here
}
