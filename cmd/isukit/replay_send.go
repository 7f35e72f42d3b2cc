package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
	"isukit/proto/decode"
)

// hopeless is after how many failures without a single answer a replay ends.
const hopeless = 10

// replayer sends requests and counts how the answers compare.
type replayer struct {
	o       replayOptions
	base    *url.URL
	decoder *bodyDecoder
	client  *http.Client
	s       streams

	mu sync.Mutex // of all below, of decoder, and of the output
	// cookies are what the server set now, by the value that was captured in its place.
	cookies map[string]string

	sent, same, differ, unknown, failed int
	found                               []replayedAnswer // kept for --json
	// late is by how much a paced request went after its time, at most.
	late time.Duration
}

// telling says how far it has come while it takes its time.
func (r *replayer) telling(total int) (done func()) {
	if r.o.quiet {
		return func() {}
	}
	return ui.SayWhile(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		fmt.Fprintf(r.s.err, "isukit: %d of %d requests were sent, %d answers differed\n", r.sent, total, r.differ)
	})
}

func (r *replayer) all(ctx context.Context, exchanges []*decodedExchange) error {
	if r.o.paced {
		return r.atTheirTimes(ctx, exchanges)
	}
	for _, d := range exchanges {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.one(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// atTheirTimes sends each request when it is due. Connections of the capture do not wait for one another: on each, a request
// goes when it is due and the answer before it has come.
func (r *replayer) atTheirTimes(ctx context.Context, exchanges []*decodedExchange) error {
	connections := map[netip.AddrPort][]*decodedExchange{}
	for _, d := range exchanges {
		connections[d.Client] = append(connections[d.Client], d)
	}
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for _, list := range connections {
		group.Go(func() error {
			for _, d := range list {
				due := began.Add(time.Duration(float64(d.Time().Sub(exchanges[0].Time())) / r.o.speed))
				if err := sleepUntil(ctx, due); err != nil {
					return err
				}
				r.mu.Lock()
				r.late = max(r.late, time.Since(due))
				r.mu.Unlock()
				if err := r.one(ctx, d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func sleepUntil(ctx context.Context, due time.Time) error {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// one sends one request. A request that fails is counted, and the replay goes on, unless none was ever answered.
func (r *replayer) one(ctx context.Context, d *decodedExchange) error {
	answer, err := r.send(ctx, d.Request)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent++
	if err != nil {
		r.failed++
		r.tell(replayedAnswer{Method: d.Request.Method, Path: d.Request.Target, Error: err.Error()})
		if r.failed == r.sent && r.failed >= hopeless {
			return ui.Hinted(fmt.Errorf("the first %d requests failed, and the rest was not sent", r.failed), "--to URL says where the server is; isukit topology status shows what runs")
		}
		return nil
	}
	r.learnCookies(d.Response, answer)
	if d.Response == nil || len(d.Incomplete) > 0 {
		r.unknown++
		return nil
	}
	differences := r.compare(d, answer)
	if len(differences) == 0 {
		r.same++
		return nil
	}
	r.differ++
	r.tell(replayedAnswer{Method: d.Request.Method, Path: d.Request.Target, Differences: differences})
	return nil
}

// tell prints what came of a request, or keeps it for the report.
func (r *replayer) tell(a replayedAnswer) {
	if r.o.asJSON {
		r.found = append(r.found, a)
		return
	}
	route := a.Method + " " + decode.Terminal(a.Path)
	if a.Error != "" {
		fmt.Fprintf(r.s.out, "%s: failed: %s\n", route, a.Error)
		return
	}
	fmt.Fprintf(r.s.out, "%s:\n", route)
	for i, line := range a.Differences {
		if i == 20 {
			fmt.Fprintf(r.s.out, "  and %d more\n", len(a.Differences)-i)
			break
		}
		fmt.Fprintf(r.s.out, "  %s\n", line)
	}
}

// dropped are headers of the captured request that belong to its connection or its encoding.
var dropped = map[string]bool{
	"connection": true, "content-length": true, "transfer-encoding": true, "host": true, "content-encoding": true,
	"keep-alive": true, "te": true, "trailer": true, "upgrade": true, "expect": true, "accept-encoding": true,
}

func (r *replayer) send(ctx context.Context, m *capture.Message) (*capture.Message, error) {
	target, err := r.base.Parse(m.Target)
	if err != nil || !strings.HasPrefix(m.Target, "/") {
		return nil, fmt.Errorf("%q is no path", m.Target)
	}
	// Parse would follow "//host/path" elsewhere.
	target.Scheme, target.Host = r.base.Scheme, r.base.Host
	req, err := http.NewRequestWithContext(ctx, m.Method, target.String(), bytes.NewReader(m.Body))
	if err != nil {
		return nil, err
	}
	for _, f := range m.Header {
		switch {
		case dropped[strings.ToLower(f.Name)]:
		case strings.EqualFold(f.Name, "Cookie") && r.o.cookies:
			req.Header.Add("Cookie", r.newCookies(f.Value))
		default:
			req.Header.Add(f.Name, f.Value)
		}
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, ui.MaxBodyFileBytes))
	if err != nil {
		return nil, err
	}
	answer := &capture.Message{Status: resp.StatusCode, Body: body}
	for name, values := range resp.Header {
		for _, value := range values {
			answer.Header = append(answer.Header, capture.Field{Name: name, Value: value})
		}
	}
	return answer, nil
}
