package infra

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"isukit/infra/dbserver"
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

// client is an HTTP client that reaches the site's hosts as the load generator does, and trusts its authority.
func (l *layout) client(driver host.Driver) (*http.Client, error) {
	t := &http.Transport{DisableKeepAlives: true, DialContext: l.dial(driver)}
	if l.ca.Certificate != nil {
		roots, err := l.ca.Pool()
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t, Timeout: 10 * time.Second}, nil
}

// healthURL is what an instance answers with a status below 500 when it is healthy.
func (l *layout) healthURL(i topology.Instance) string {
	if i.Role == topology.Proxy {
		return l.input.URLOf(i) + "/"
	}
	return "http://" + l.input.Places[i.Name].HostPort() + "/healthz"
}

// dial connects to servers on the site's hosts, from the hosts themselves: they may listen for these alone.
func (l *layout) dial(driver host.Driver) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		name, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		for _, h := range l.hosts {
			if d, ok := h.(host.Dialer); ok && h.About().Address == name {
				return d.Dial(ctx, network, address)
			}
		}
		return driver.Dial(ctx, network, address)
	}
}

// awaitHTTP waits until an instance that was started answers with a status below 500.
func (s *Site) awaitHTTP(ctx context.Context, l *layout, i topology.Instance) error {
	client, err := l.client(s.driver)
	if err != nil {
		return err
	}
	return l.await(ctx, i, func(ctx context.Context) error {
		code, err := status(ctx, client, l.healthURL(i))
		if err == nil && code >= 500 {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})
}

// awaitDB waits until a database that was started answers.
func (l *layout) awaitDB(ctx context.Context, i topology.Instance, db *dbserver.Instance) error {
	pool, err := db.OpenRoot()
	if err != nil {
		return err
	}
	defer pool.Close()
	return l.await(ctx, i, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return pool.PingContext(ctx)
	})
}

// await waits until ask succeeds while the instance runs: otherwise another process answers.
func (l *layout) await(ctx context.Context, i topology.Instance, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.spec.healthLimit(), fmt.Errorf("not healthy within %v", l.spec.healthLimit()))
	defer cancel()
	h, called := l.hosts[i.Host], i.Name+" on "+i.Host
	last := errors.New("no answer")
	for {
		if err := ask(ctx); err == nil || ctx.Err() == nil {
			last = err
		}
		st, err := h.State(context.WithoutCancel(ctx), i.Name)
		switch {
		case err != nil:
			return err
		case !st.Running:
			return l.whyEnded(ctx, called, i, st)
		case last == nil:
			return nil
		}
		pause := 20 * time.Millisecond
		if !h.About().Here { // each question is a process here and one there
			pause = 200 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not healthy (%w; %w); the end of its log:\n%s", called, context.Cause(ctx), last, l.logTail(ctx, i.Host, i.Name))
		case <-time.After(pause):
		}
	}
}

func (l *layout) whyEnded(ctx context.Context, called string, i topology.Instance, st host.State) error {
	log := l.logTail(ctx, i.Host, i.Name)
	err := fmt.Errorf("%s exited before it was healthy (%s); the end of its log:\n%s", called, st.Exit, log)
	switch {
	case st.OutOfMemory && i.Role == topology.DB:
		return host.Hinted(fmt.Errorf("%w\nit was killed: the memory of %s did not suffice", err, i.Host), "make its buffer_pool smaller, or give the host more memory")
	case st.OutOfMemory:
		return host.Hinted(fmt.Errorf("%w\nit was killed: the memory of %s did not suffice", err, i.Host), "place less on that host, or give it more memory")
	case strings.Contains(log, "ddress already in use") || strings.Contains(log, "bind() to") || strings.Contains(log, "cannot bind"):
		return host.Hinted(err, fmt.Sprintf("port %d is taken by another program: stop that, or give %s another port", l.input.Places[i.Name].Port, i.Name))
	case strings.Contains(log, "No space left on device"):
		return host.Hinted(err, "make room on the disk of "+i.Host)
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

// Mark notes what runs now, so that Ended sees what was started again since.
func (r *Running) Mark(ctx context.Context) { r.marked, _ = r.states(ctx) }

// states are those of all instances, by name; why, by host, where it cannot be asked.
func (r *Running) states(ctx context.Context) (all map[string]host.State, away map[string]error) {
	all, away = map[string]host.State{}, map[string]error{}
	for _, h := range r.input.Topology.Hosts {
		states, _, err := r.hosts[h.Name].States(ctx)
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

// Ended lists unreachable hosts, instances that exited, with the end of the log, and those started again since Mark.
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
		case was.Running && st.Running && (was.PID != st.PID || st.Since.After(was.Since.Add(10*time.Second))): // a boot may give it the same number; when it started is known to some seconds
			list = append(list, fmt.Sprintf("%s on %s was started again at %s: it ended, or its host booted; the end of its log:\n%s", i.Name, i.Host, st.Since.Format(time.TimeOnly), r.logTail(ctx, i.Host, i.Name)))
		case st.OutOfMemory:
			_, memory := r.Size(i.Host)
			list = append(list, fmt.Sprintf("%s on %s was killed by the kernel: out of memory (the host has %d MiB); the end of its log:\n%s", i.Name, i.Host, memory>>20, r.logTail(ctx, i.Host, i.Name)))
		case !st.Running:
			list = append(list, fmt.Sprintf("%s ended (%s); the end of its log:\n%s", i.Name, st.Exit, r.logTail(ctx, i.Host, i.Name)))
		}
	}
	return list
}

// logTail is the end of what an instance has logged.
func (l *layout) logTail(ctx context.Context, hostName, instance string) string {
	dir := l.input.Places[instance].Dir
	text, err := host.Output(context.WithoutCancel(ctx), l.hosts[hostName], "sh", "-c", `for f; do tail -c 16384 -- "$f" 2>/dev/null; done; true`, "sh", path.Join(dir, errorLog), path.Join(dir, outputLog))
	if err != nil {
		text = "(no log: " + err.Error() + ")"
	}
	return redact.Known(host.Tail([]byte(text), 15), l.secrets.list()...)
}

// Secrets are those that were made for this run: what is kept of it must not have them.
func (r *Running) Secrets() []string { return r.secrets.list() }
