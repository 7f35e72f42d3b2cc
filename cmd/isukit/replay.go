package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"isukit/proto/capture"
	"isukit/proto/decode"
)

type replayOptions struct {
	schema  schemaOptions
	filter  captureFilter
	file    string
	to      string
	keylog  string
	paced   bool
	speed   float64
	cookies bool
	// ignore are patterns of the names of fields that may differ.
	ignore  []string
	timeout time.Duration
	asJSON  bool
	// stateDir is where a lab that is up is found.
	stateDir string
}

// hopeless is after how many failures without a single answer a replay ends.
const hopeless = 10

func newReplayCmd(s streams) *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay FILE --to URL",
		Short: "Send a capture's requests again; say where answers differ",
		Long: `Send the requests of a capture again, one after another in the order of their start, and compare the answers. With --paced
each goes at its time in the capture; those of one connection wait for each other's answers, those of different ones do not.

Answers are compared by status and, field by field, by message; where a body has no known type, by its bytes. Cookies
that the server sets now take the place of the captured ones, so that sessions work on another server too.`,
		Example: `  isukit replay round.pcap --to http://127.0.0.1:9292
  isukit replay round.pcap --to http://127.0.0.1:9292 --ignore '*_us,id'
  isukit replay round.pcap --to http://10.0.0.2 --paced --speed 2 --path '/api/*'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file = args[0]
			var err error
			if o.stateDir, err = stateDir(cmd); err != nil {
				return err
			}
			return runReplay(cmd.Context(), o, s)
		},
	}
	o.schema.addFlags(cmd)
	o.filter.addFlags(cmd)
	cmd.Flags().StringVar(&o.to, "to", "", "the server, as a URL without a path")
	cmd.Flags().StringVar(&o.keylog, "keylog", "", "TLS key log of the capture")
	cmd.Flags().BoolVar(&o.paced, "paced", false, "send at the times of the capture instead of as fast as answers come")
	cmd.Flags().Float64Var(&o.speed, "speed", 1, "with --paced: how many times faster than captured")
	cmd.Flags().BoolVar(&o.cookies, "new-cookies", true, "send the cookies that the server sets now in place of the captured ones")
	cmd.Flags().StringSliceVar(&o.ignore, "ignore", nil, "fields that may differ, by name: '*_us,id'")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 10*time.Second, "how long an answer may take")
	jsonFlag(cmd.Flags(), &o.asJSON)
	return cmd
}

// notableDelay is how late a paced request may go without a word.
const notableDelay = 100 * time.Millisecond

// maxReplayConnections bounds how many idle connections are kept.
const maxReplayConnections = 1000

// maxReplayExchanges bounds what is kept in memory to be sorted by start.
const maxReplayExchanges = 1_000_000

func runReplay(ctx context.Context, o replayOptions, s streams) error {
	base, err := serverURL(o.to)
	if err != nil {
		return err
	}
	for _, pattern := range o.ignore {
		if _, err := path.Match(pattern, ""); err != nil {
			return usageError(fmt.Errorf("--ignore %q: %w", pattern, err), "the form is '*_us,id'")
		}
	}
	if o.speed <= 0 {
		return usageError(fmt.Errorf("--speed %g is not above 0", o.speed), "")
	}
	if err := o.filter.parse(); err != nil {
		return err
	}
	schema, routes, err := o.schema.load(ctx, s)
	if err != nil {
		return err
	}
	decoder := &bodyDecoder{schema: schema, routes: routes}
	exchanges, skipped, err := o.load(ctx, decoder, s)
	if err != nil {
		return err
	}
	r := &replayer{o: o, base: base, decoder: decoder, s: s, cookies: map[string]string{}}
	reach, err := openLabReach(ctx, o.stateDir)
	defer reach.Close(ctx)
	if err != nil {
		return err
	}
	r.client = &http.Client{
		Timeout:       o.timeout,
		Transport:     &http.Transport{DialContext: reach.DialContext, Protocols: http1Only(), DisableCompression: true, MaxIdleConnsPerHost: maxReplayConnections},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer r.client.CloseIdleConnections()
	if err := r.all(ctx, exchanges); err != nil {
		return err
	}
	if err := r.summary(skipped); err != nil {
		return err
	}
	if r.late > notableDelay {
		fmt.Fprintf(s.err, "isukit: note: requests went up to %v after their time: the answers before them on their connections came late\n",
			r.late.Round(time.Millisecond))
	}
	switch {
	case r.sent == 0:
		fmt.Fprintln(s.err, "isukit: note: nothing was sent: the capture has no whole request that passes --method, --path and the like")
	case r.differ > 0:
		return found(errors.New("answers differ"), o.filter.leftOutHint())
	case r.failed > 0:
		return found(errors.New("requests failed"), "")
	}
	return nil
}

// replayReport is what --json prints.
type replayReport struct {
	Sent          int `json:"sent"`
	Same          int `json:"same"`
	Differ        int `json:"differ"`
	NotComparable int `json:"not_comparable"`
	Failed        int `json:"failed"`
	// LeftOut are exchanges of the capture whose request is not whole.
	LeftOut int              `json:"left_out"`
	Answers []replayedAnswer `json:"answers"`
}

// replayedAnswer is an answer that was another one than in the capture, or did not come.
type replayedAnswer struct {
	Method      string   `json:"method"`
	Path        string   `json:"path"`
	Error       string   `json:"error,omitempty"`
	Differences []string `json:"differences,omitempty"`
}

func (r *replayer) summary(skipped int) error {
	if r.o.asJSON {
		return printJSON(r.s.out, replayReport{r.sent, r.same, r.differ, r.unknown, r.failed, skipped, append([]replayedAnswer{}, r.found...)})
	}
	_, err := fmt.Fprintf(r.s.out, "%d requests sent, %d answers the same, %d differ, %d not comparable, %d failed; %d of the capture left out as incomplete\n",
		r.sent, r.same, r.differ, r.unknown, r.failed, skipped)
	return err
}

// load reads the exchanges that can be sent again, by the time of their start.
func (o *replayOptions) load(ctx context.Context, decoder *bodyDecoder, s streams) (kept []*decodedExchange, skipped int, err error) {
	opts := capture.DefaultOptions()
	notes := &noteCounter{w: s.err, seen: map[string]int{}}
	opts.OnNote = notes.add
	if opts.Keys, err = readKeyLog(o.keylog); err != nil {
		return nil, 0, err
	}
	reader, file, err := openCapture(o.file, s.in, opts)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	for {
		e, err := reader.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", o.file, err)
		}
		if !o.filter.beforeDecoding(e) {
			continue
		}
		if e.Request == nil || requestIncomplete(e) {
			skipped++
			continue
		}
		if d := decoder.decode(e); o.filter.match(d) {
			kept = append(kept, d)
		}
		if len(kept) > maxReplayExchanges {
			return nil, 0, usageError(fmt.Errorf("more than %d exchanges", maxReplayExchanges), "choose some with --path, --method or --status")
		}
	}
	slices.SortStableFunc(kept, func(a, b *decodedExchange) int { return a.Time().Compare(b.Time()) })
	return kept, skipped, nil
}

// requestIncomplete reports whether a part of the request is missing; a missing response is no hindrance.
func requestIncomplete(e *capture.Exchange) bool {
	for _, why := range e.Incomplete {
		if strings.HasPrefix(why, "request") {
			return true
		}
	}
	return false
}

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
			return hinted(fmt.Errorf("the first %d requests failed, and the rest was not sent", r.failed), "--to URL says where the server is; isukit topology status shows what runs")
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
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBodyFileBytes))
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
