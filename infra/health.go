package infra

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/topology"
)

// The log files of an instance, in its directory.
const (
	outputLog = "output.log" // what its program printed
	errorLog  = "error.log"
	accessLog = "access.log"
	slowLog   = "slow.log"
)

// waitHTTP waits until an instance answers GET path with a status below 500.
func (r *Running) waitHTTP(ctx context.Context, i Instance, path string) error {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	client, url, last := r.client, "http://"+i.Addr+path, "no answer"
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 3 * time.Second}
	}
	if t, ok := r.input.Topology.Instance(i.Name); ok && t.Role == topology.Proxy {
		url = r.input.URLOf(t) + path
	}
	for {
		code, err := status(ctx, client, url)
		switch {
		case err == nil && code < 500:
			return nil
		case err == nil:
			last = fmt.Sprintf("status %d", code)
		default:
			last = err.Error()
		}
		st, err := r.at(i.Host).State(ctx, i.Name)
		if err != nil {
			return err
		}
		if !st.Running {
			return fmt.Errorf("%s ended before it was healthy (%s); the end of its log:\n%s", i.Name, st.Exit, r.logTail(i))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not healthy (%w; GET %s: %s); the end of its log:\n%s", i.Name, context.Cause(ctx), url, last, r.logTail(i))
		case <-time.After(pause(r.at(i.Host), 10*time.Millisecond)):
		}
	}
}

// Ended tells which instances have ended by themselves, each with how and the end of its log; none is good.
func (r *Running) Ended(ctx context.Context) []string {
	var list []string
	for _, i := range r.Instances {
		st, err := r.at(i.Host).State(ctx, i.Name)
		switch {
		case err != nil:
			list = append(list, err.Error())
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
	return r.redact(tailOf(text))
}

// tailOf is the last lines of a program's output.
func tailOf(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// redact replaces the run's secrets, should one have got into a log.
func (r *Running) redact(text string) string {
	for _, s := range r.secrets {
		text = strings.ReplaceAll(text, s, "[secret]")
	}
	return text
}

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
