package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
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
	quiet   bool
	// stateDir is where a lab that is up is found.
	stateDir string
}

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
			o.file, o.quiet = args[0], isQuiet(cmd)
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
			return ui.UsageError(fmt.Errorf("--ignore %q: %w", pattern, err), "the form is '*_us,id'")
		}
	}
	if o.speed <= 0 {
		return ui.UsageError(fmt.Errorf("--speed %g is not above 0", o.speed), "")
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
	if err != nil {
		return err
	}
	defer reach.Close(ctx)
	r.client = &http.Client{
		Timeout:       o.timeout,
		Transport:     &http.Transport{DialContext: reach.DialContext, Protocols: http1Only(), DisableCompression: true, MaxIdleConnsPerHost: maxReplayConnections},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer r.client.CloseIdleConnections()
	done := r.telling(len(exchanges))
	err = r.all(ctx, exchanges)
	done()
	if err != nil {
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
		return ui.CheckFailed(errors.New("answers differ"), o.filter.leftOutHint())
	case r.failed > 0:
		return ui.CheckFailed(errors.New("requests failed"), "")
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
		return ui.PrintJSON(r.s.out, replayReport{r.sent, r.same, r.differ, r.unknown, r.failed, skipped, append([]replayedAnswer{}, r.found...)})
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
			return nil, 0, ui.UsageError(fmt.Errorf("more than %d exchanges", maxReplayExchanges), "choose some with --path, --method or --status")
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
