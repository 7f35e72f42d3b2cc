package exchange

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

// maxFirstFailures is after how many failures without a single answer a replay ends.
const maxFirstFailures = 10

// ReplayOptions is how requests are sent again, and what may differ in their answers.
type ReplayOptions struct {
	Paced bool
	// Speed is how many times faster than captured a paced replay is.
	Speed float64
	// Cookies sends the cookies that the server sets now instead of the captured ones.
	Cookies bool
	// Ignore are patterns of the names of fields that may differ.
	Ignore []string
}

// Replayer sends requests and counts how the answers compare.
type Replayer struct {
	Options ReplayOptions
	Base    *url.URL
	Decoder *Decoder
	Client  *http.Client
	// Out gets a line for each answer that differs; nil keeps them for the report.
	Out io.Writer

	mu sync.Mutex // of all below, of decoder, and of the output
	// Cookies are what the server set now, by the value that was captured in its place; "" are those that go over https only.
	Cookies map[string]string
	// Withheld counts the Secure cookies that were not sent, for lack of TLS.
	Withheld int

	Sent, same, Differ, unknown, Failed int
	found                               []Answer // kept for --json
	// Late is by how much a paced request went after its time, at most.
	Late time.Duration
}

func (r *Replayer) Progress(total int, w io.Writer, quiet bool) (done func()) {
	if quiet {
		return func() {}
	}
	return ui.SayWhile(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		fmt.Fprintf(w, "isukit: %d of %d requests sent, %d responses differ\n", r.Sent, total, r.Differ)
	})
}

// ReplayReport is what --json prints.
type ReplayReport struct {
	Sent          int `json:"sent"`
	Same          int `json:"same"`
	Differ        int `json:"differ"`
	NotComparable int `json:"not_comparable"`
	Failed        int `json:"failed"`
	// LeftOut are exchanges of the capture whose request is incomplete.
	LeftOut int      `json:"left_out"`
	Answers []Answer `json:"answers"`
}

// Answer is an answer that was another one than in the capture, or did not come.
type Answer struct {
	Method      string   `json:"method"`
	Path        string   `json:"path"`
	Error       string   `json:"error,omitempty"`
	Differences []string `json:"differences,omitempty"`
}

func (r *Replayer) Summary(skipped int, asJSON bool, out io.Writer) error {
	if asJSON {
		return ui.PrintJSON(out, ReplayReport{r.Sent, r.same, r.Differ, r.unknown, r.Failed, skipped, append([]Answer{}, r.found...)})
	}
	_, err := fmt.Fprintf(out, "%d requests sent, %d responses the same, %d differ, %d not comparable, %d failed; %d incomplete ones of the capture skipped\n",
		r.Sent, r.same, r.Differ, r.unknown, r.Failed, skipped)
	return err
}

func (r *Replayer) All(ctx context.Context, exchanges []*Decoded) error {
	if r.Options.Paced {
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

// atTheirTimes sends each request when it is due and the answer before it has come, for each connection of the capture alone.
func (r *Replayer) atTheirTimes(ctx context.Context, exchanges []*Decoded) error {
	connections := map[netip.AddrPort][]*Decoded{}
	for _, d := range exchanges {
		connections[d.Client] = append(connections[d.Client], d)
	}
	group, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for _, list := range connections {
		group.Go(func() error {
			for _, d := range list {
				due := began.Add(time.Duration(float64(d.Time().Sub(exchanges[0].Time())) / r.Options.Speed))
				if err := sleepUntil(ctx, due); err != nil {
					return err
				}
				r.mu.Lock()
				r.Late = max(r.Late, time.Since(due))
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
func (r *Replayer) one(ctx context.Context, d *Decoded) error {
	answer, err := r.send(ctx, d.Request)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Sent++
	if err != nil {
		r.Failed++
		r.tell(Answer{Method: d.Request.Method, Path: d.Request.Target, Error: err.Error()})
		if r.Failed == r.Sent && r.Failed >= maxFirstFailures {
			return ui.Hinted(fmt.Errorf("the first %d requests failed; stopped without sending the rest", r.Failed), "check the server's URL in --to; isukit topology status shows what runs")
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
	r.Differ++
	r.tell(Answer{Method: d.Request.Method, Path: d.Request.Target, Differences: differences})
	return nil
}

// tell prints the result of a request, or keeps it for the report.
func (r *Replayer) tell(a Answer) {
	if r.Out == nil {
		r.found = append(r.found, a)
		return
	}
	route := a.Method + " " + decode.Terminal(a.Path)
	if a.Error != "" {
		fmt.Fprintf(r.Out, "%s: failed: %s\n", route, a.Error)
		return
	}
	fmt.Fprintf(r.Out, "%s:\n", route)
	for i, line := range a.Differences {
		if i == 20 {
			fmt.Fprintf(r.Out, "  and %d more\n", len(a.Differences)-i)
			break
		}
		fmt.Fprintf(r.Out, "  %s\n", line)
	}
}

// dropped are headers of the captured request that belong to its connection or its encoding.
var dropped = map[string]bool{
	"connection": true, "content-length": true, "transfer-encoding": true, "host": true, "content-encoding": true,
	"keep-alive": true, "te": true, "trailer": true, "upgrade": true, "expect": true, "accept-encoding": true,
}

func (r *Replayer) send(ctx context.Context, m *capture.Message) (*capture.Message, error) {
	path := m.Target
	if u, err := url.Parse(path); err == nil && u.IsAbs() {
		path = u.RequestURI() // a request line in absolute form, as proxies get it
	}
	target, err := r.Base.Parse(path)
	if err != nil || !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("%q is not a path", m.Target)
	}
	// Parse would follow "//host/path" elsewhere.
	target.Scheme, target.Host = r.Base.Scheme, r.Base.Host
	req, err := http.NewRequestWithContext(ctx, m.Method, target.String(), bytes.NewReader(m.Body))
	if err != nil {
		return nil, err
	}
	for _, f := range m.Header {
		switch {
		case dropped[strings.ToLower(f.Name)] || strings.HasPrefix(f.Name, ":"): // ":method" and the like are HTTP/2's
		case strings.EqualFold(f.Name, "Cookie") && r.Options.Cookies:
			if value := r.newCookies(f.Value); value != "" {
				req.Header.Add("Cookie", value)
			}
		default:
			req.Header.Add(f.Name, f.Value)
		}
	}
	resp, err := r.Client.Do(req)
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
