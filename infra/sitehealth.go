package infra

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/topology"
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
	return &http.Client{Transport: t, Timeout: 3 * time.Second}, nil
}

// healthURL is what an instance answers with a status below 500 when it is healthy.
func (l *layout) healthURL(i topology.Instance) string {
	if i.Role == topology.Proxy {
		return l.input.URLOf(i) + "/"
	}
	p := l.input.Places[i.Name]
	return fmt.Sprintf("http://%s:%d/healthz", p.Address, p.Port)
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

// waitHTTP waits until an instance that was started is healthy.
func (e *execution) waitHTTP(ctx context.Context, i topology.Instance) error {
	ctx, cancel := context.WithTimeoutCause(ctx, e.site.healthLimit(), fmt.Errorf("not healthy within %v", e.site.healthLimit()))
	defer cancel()
	client, err := e.l.client(e.site.driver)
	if err != nil {
		return err
	}
	h, url, last := e.f.hosts[i.Host], e.l.healthURL(i), "no answer"
	for {
		code, err := status(ctx, client, url)
		switch {
		case err == nil && code < 500:
			return nil
		case err == nil:
			last = fmt.Sprintf("status %d", code)
		case ctx.Err() == nil:
			last = err.Error()
		}
		st, err := h.State(context.WithoutCancel(ctx), i.Name)
		if err != nil {
			return err
		}
		if !st.Running {
			return e.whyEnded(ctx, i, st)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s on %s is not healthy (%w; GET %s: %s); the end of its log:\n%s", i.Name, i.Host, context.Cause(ctx), url, last, e.logTail(ctx, i))
		case <-time.After(pause(h, 10*time.Millisecond)):
		}
	}
}

// whyEnded explains a service that ended before it was healthy.
func (e *execution) whyEnded(ctx context.Context, i topology.Instance, st host.State) error {
	log := e.logTail(ctx, i)
	err := fmt.Errorf("%s on %s ended before it was healthy (%s); the end of its log:\n%s", i.Name, i.Host, st.Exit, log)
	port := e.l.input.Places[i.Name].Port
	switch {
	case st.OutOfMemory:
		return &HintError{fmt.Errorf("%w\nit was killed: the memory of %s did not suffice", err, i.Host), "place less on that host, or give it more memory"}
	case strings.Contains(log, "ddress already in use") || strings.Contains(log, "bind() to") || strings.Contains(log, "cannot bind"):
		return &HintError{err, fmt.Sprintf("port %d is taken by another program: stop that, or give %s another port", port, i.Name)}
	case strings.Contains(log, "No space left on device"):
		return &HintError{err, "make room on the disk of " + i.Host}
	}
	return err
}

func (e *execution) logTail(ctx context.Context, i topology.Instance) string {
	var text []byte
	for _, name := range []string{errorLog, outputLog} {
		if b, err := e.f.hosts[i.Host].Get(context.WithoutCancel(ctx), path.Join(e.l.input.Places[i.Name].Dir, name)); err == nil {
			text = append(text, b[max(0, len(b)-16<<10):]...)
		}
	}
	log := tailOf(text)
	for _, secret := range e.l.secrets.list() {
		log = strings.ReplaceAll(log, secret, "[secret]")
	}
	return log
}

func (s *Site) healthLimit() time.Duration {
	if s.spec.HealthLimit > 0 {
		return s.spec.HealthLimit
	}
	return healthLimit
}

// dial connects to what listens on the site's hosts: to those that are not this machine through the hosts themselves, since what
// listens there may be for them alone.
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
