package infra

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path"
	"time"

	"isukit/infra/host"
	"isukit/infra/redact"
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

// waitHTTP waits until an instance that was started is healthy.
func (e *execution) waitHTTP(ctx context.Context, i topology.Instance) error {
	client, err := e.l.client(e.site.driver)
	if err != nil {
		return err
	}
	return wait{
		at: e.f.hosts[i.Host], host: i.Host, instance: i.Name, called: i.Name + " on " + i.Host, port: e.l.input.Places[i.Name].Port, client: client,
		url: e.l.healthURL(i), limit: e.site.spec.healthLimit(), logTail: func() string { return e.logTail(ctx, i) },
	}.run(ctx)
}

func (e *execution) logTail(ctx context.Context, i topology.Instance) string {
	var text []byte
	for _, name := range []string{errorLog, outputLog} {
		if b, err := e.f.hosts[i.Host].Get(context.WithoutCancel(ctx), path.Join(e.l.input.Places[i.Name].Dir, name)); err == nil {
			text = append(text, b[max(0, len(b)-16<<10):]...)
		}
	}
	return redact.Known(tailOf(text), e.l.secrets.list()...)
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
