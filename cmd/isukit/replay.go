package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"time"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
)

type replayOptions struct {
	schema exchange.Schema
	filter exchange.Filter
	file   string
	to     string
	keylog string
	exchange.ReplayOptions
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
		Short: "Send captured requests again and report responses that differ",
		Long: `Send the requests of a capture again, one after another in the order of their start, and compare the responses. With --paced each is sent
at its time in the capture; requests of one connection wait for each other's responses.

Responses are compared by status and by message, field by field; bodies without a known type by their bytes. Cookies that the server sets
now replace the captured ones, so that sessions work on another server too.`,
		Example: `  isukit replay round.pcap --to http://127.0.0.1:9292
  isukit replay round.pcap --to http://127.0.0.1:9292 --ignore '*_us,id'
  isukit replay round.pcap --to http://10.0.0.2 --paced --speed 2 --path '/api/*'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file, o.quiet = args[0], isQuiet(cmd)
			o.stateDir = stateDir(cmd)
			return runReplay(cmd.Context(), o, s)
		},
	}
	schemaFlags(cmd, &o.schema)
	routesFlag(cmd, &o.schema)
	filterFlags(cmd, &o.filter)
	cmd.Flags().StringVar(&o.to, "to", "", "the server: a URL without a path, or unix:/path/of/its/socket")
	cmd.Flags().StringVar(&o.keylog, "keylog", "", "TLS key log of the capture")
	cmd.Flags().BoolVar(&o.Paced, "paced", false, "send at the times of the capture instead of as fast as possible")
	cmd.Flags().Float64Var(&o.Speed, "speed", 1, "with --paced: how many times faster than captured")
	cmd.Flags().BoolVar(&o.Cookies, "new-cookies", true, "send the cookies that the server sets now instead of the captured ones")
	cmd.Flags().StringSliceVar(&o.Ignore, "ignore", nil, "names of fields to ignore, for example '*_us,id'")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 10*time.Second, "timeout of a response")
	jsonFlag(cmd.Flags(), &o.asJSON)
	return cmd
}

// notableDelay is how late a paced request may go without a word.
const notableDelay = 100 * time.Millisecond

const maxReplayConnections = 1000

func runReplay(ctx context.Context, o replayOptions, s streams) error {
	base, err := serverURL(o.to)
	if err != nil {
		return err
	}
	for _, pattern := range o.Ignore {
		if _, err := path.Match(pattern, ""); err != nil {
			return ui.UsageError(fmt.Errorf("--ignore %q: %w", pattern, err), "the form is '*_us,id'")
		}
	}
	if o.Speed <= 0 {
		return ui.UsageError(fmt.Errorf("--speed %g must be greater than 0", o.Speed), "")
	}
	if err := o.filter.Parse(); err != nil {
		return err
	}
	decoder, err := o.schema.Decoder(ctx, s.err)
	if err != nil {
		return err
	}
	opts := capture.DefaultOptions()
	opts.OnNote = exchange.NewNotes(s.err).Add
	exchanges, skipped, cut := exchange.LoadRequests(ctx, o.file, o.keylog, s.in, opts, &o.filter, decoder)
	if cut != nil && len(exchanges) == 0 {
		return cut
	}
	if cut != nil {
		fmt.Fprintf(s.err, "isukit: note: %v; the %d requests before that are sent\n", cut, len(exchanges))
	}
	r := &exchange.Replayer{Options: o.ReplayOptions, Base: base, Decoder: decoder, Cookies: map[string]string{}}
	if !o.asJSON {
		r.Out = s.out
	}
	reach, err := openLabReach(ctx, o.stateDir)
	if err != nil {
		return err
	}
	defer reach.Close(ctx)
	r.Client = &http.Client{
		Timeout:       o.timeout,
		Transport:     &http.Transport{DialContext: dialer(o.to, reach), Protocols: http1Only(), DisableCompression: true, MaxIdleConnsPerHost: maxReplayConnections},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer r.Client.CloseIdleConnections()
	done := r.Progress(len(exchanges), s.err, o.quiet)
	err = r.All(ctx, exchanges)
	done()
	if err != nil {
		return err
	}
	if err := r.Summary(skipped, o.asJSON, s.out); err != nil {
		return err
	}
	if r.Late > notableDelay {
		fmt.Fprintf(s.err, "isukit: note: requests were sent up to %v late, because earlier responses on their connections came late\n",
			r.Late.Round(time.Millisecond))
	}
	if r.Withheld > 0 {
		fmt.Fprintf(s.err, "isukit: note: %d Secure cookies were not sent over http; --to https://..., or --new-cookies=false to send what was captured\n", r.Withheld)
	}
	switch {
	case r.Sent == 0:
		fmt.Fprintln(s.err, "isukit: note: nothing was sent: no complete request matches --method, --path and the other filters")
	case r.Differ > 0:
		return ui.CheckFailed(errors.New("answers differ"), o.filter.LeftOutHint())
	case r.Failed > 0:
		return ui.CheckFailed(errors.New("requests failed"), "")
	}
	return cut
}
