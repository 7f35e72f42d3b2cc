package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
)

type captureOptions struct {
	schema exchange.Schema
	exchange.PrintOptions
	file   string
	keylog string
	packet string
	live   string
	netns  string
	// host is where to capture, sshConfig a file for ssh, stateDir where the lab is kept.
	host, sshConfig, stateDir string
}

func newCaptureCmd(s streams) *cobra.Command {
	var o captureOptions
	cmd := &cobra.Command{
		Use:   "capture FILE | --live INTERFACE [FILTER] | --host HOST [FILTER]",
		Short: "Show the HTTP requests and responses of a packet capture, decoded",
		Long: `Show the HTTP/1.x exchanges of a file (` + capture.Formats + `, also as .gz and .zst; "-" is standard input).

isukit prints one line per exchange: time, client, method, path, status, request and response bytes, latency, message types.
It marks exchanges with lost packets. Connections that are not HTTP/1.x, or cannot be decrypted, are listed on standard error.

With --proto and without --routes, isukit guesses the message type of each path from the bodies and marks it with "~".
Without --proto, it uses the portal's messages where they fit exactly.

--live captures on an interface ("any": all of them) until Ctrl-C, and needs root. FILTER, or --filter with a file, is a subset of
tcpdump's language: 'port 9292', 'host 10.0.0.1 and not port 22', 'net 10.0.0.0/8'.

--host captures on a host of the lab ("switch" and "generator" too) or on an ssh destination. An ssh destination needs tcpdump, and a
login as root or with passwordless sudo.`,
		Example: `  isukit capture round.pcap
  isukit capture --bodies --path '/api/teams/*' --status 4xx round.pcap.zst
  isukit capture --bodies --proto ./proto contest.pcap
  isukit capture --keylog keys.log --json tls.pcapng | jq .resp
  isukit capture --live any 'port 9292'
  isukit capture --host s2 'port 9292'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.arguments(args); err != nil {
				return err
			}
			var err error
			o.stateDir = stateDir(cmd)
			p, err := runCapture(cmd.Context(), o, s)
			if err != nil {
				return err
			}
			if p.Shown > 0 && o.file != "" && o.file != "-" {
				sayNext(s, isQuiet(cmd) || o.Jsonl, nextAfterCapture(cmd, o, p))
			}
			return nil
		},
	}
	schemaFlags(cmd, &o.schema)
	routesFlag(cmd, &o.schema)
	filterFlags(cmd, &o.Filter)
	cmd.Flags().StringVar(&o.keylog, "keylog", "", "TLS key log (NSS format, for example from SSLKEYLOGFILE)")
	cmd.Flags().StringVar(&o.packet, "filter", "", "read only these connections, for example 'port 9292'")
	cmd.Flags().StringVar(&o.live, "live", "", "capture on this interface instead of reading a file; needs root")
	cmd.Flags().StringVar(&o.netns, "netns", "", "with --live: the network namespace to capture in, by name or path")
	cmd.Flags().StringVar(&o.host, "host", "", "capture on this host of the lab, the project or the topology, or this ssh destination, until Ctrl-C; --live selects its interface (default any)")
	cmd.Flags().StringVar(&o.sshConfig, "ssh-config", "", "with --host: ssh configuration file to use instead of yours")
	cmd.Flags().BoolVar(&o.Bodies, "bodies", false, "print the decoded messages too")
	cmd.Flags().StringVar(&o.WriteBodies, "write-bodies", "", "write each body's bytes to a file in this directory")
	linesFlag(cmd.Flags(), &o.Jsonl)
	cmd.Flags().SetNormalizeFunc(jsonlIsJSON)
	return cmd
}

// jsonlIsJSON takes --jsonl for --json: what it prints are JSON Lines.
func jsonlIsJSON(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if name == "jsonl" {
		name = "json"
	}
	return pflag.NormalizedName(name)
}

// arguments sorts out what the arguments mean: a file, or with --live a filter.
func (o *captureOptions) arguments(args []string) error {
	switch {
	case o.host != "" && (o.netns != "" || strings.HasPrefix(o.host, "-")):
		return ui.UsageError(fmt.Errorf("--host %s --netns %s", o.host, o.netns), "--host and --netns cannot be combined")
	case (o.live != "" || o.host != "") && o.packet != "" && len(args) > 0:
		return ui.UsageError(errors.New("the filter is given twice"), "give it as an argument or with --filter")
	case (o.live != "" || o.host != "") && len(args) > 0:
		o.packet = strings.Join(args, " ")
	case o.live != "" || o.host != "":
	case o.netns != "":
		return ui.UsageError(errors.New("--netns needs --live"), "")
	case len(args) != 1:
		return ui.UsageError(fmt.Errorf("%d files are named, want 1", len(args)), "give a FILE, \"-\" for standard input, or --live INTERFACE")
	default:
		o.file = args[0]
	}
	return nil
}

func runCapture(ctx context.Context, o captureOptions, s streams) (exchange.Counts, error) {
	var p exchange.Counts
	if o.Bodies && o.Jsonl {
		return p, ui.UsageError(errors.New("--bodies and --json cannot be combined"), "--json contains the bodies too")
	}
	if err := o.Filter.Parse(); err != nil {
		return p, err
	}
	decoder, err := o.schema.Decoder(ctx, s.err)
	if err != nil {
		return p, err
	}
	if err := o.Filter.CheckTypes(decoder.Schema); err != nil {
		return p, err
	}
	defer relaxGC()()
	if decoder.Learner != nil {
		fmt.Fprintln(s.err, "isukit: note: message types are guessed from the bodies (\"~\"); isukit routes learn writes them to a file")
	}
	notes := exchange.NewNotes(s.err)
	opts := capture.DefaultOptions()
	opts.OnNote = notes.Add
	if opts.Filter, err = capture.ParseFilter(o.packet); err != nil {
		return p, ui.UsageError(err, "the forms are 'port 80', 'host 10.0.0.1' and 'net 10.0.0.0/8', with and, or, not")
	}
	o.Eager = o.file == "" || o.file == "-"
	if o.file == "" && o.keylog != "" {
		keys, closeLog := capture.FollowKeyLog(o.keylog)
		defer closeLog()
		opts.Keys = keys
	}
	switch {
	case o.host != "":
		p, err = captureHost(ctx, o, opts, decoder, s)
	case o.live != "":
		p, err = captureLive(ctx, o, opts, decoder, s)
	default:
		p, err = captureFile(ctx, o, opts, decoder, s)
	}
	notes.Summary()
	if err == nil && p.Foreign > 0 {
		fmt.Fprintf(s.err, "isukit: note: %d exchanges carry messages that are not the portal's; --proto DIR names your own .proto files\n", p.Foreign)
	}
	if err == nil && p.Formless > 0 {
		err = ui.CheckFailed(fmt.Errorf("%d messages have parts that JSON cannot express; their faults name them", p.Formless), "")
	} else if err == nil && p.Malformed > 0 {
		err = ui.CheckFailed(fmt.Errorf("malformed entries of the HAR file: %d; each says how", p.Malformed), "")
	}
	return p, err
}

// Reading a capture makes much short-lived garbage: collecting it less often, up to gcUntilBytes, saves a third of the CPU time.
const (
	gcPercent    = 800
	gcUntilBytes = 160 << 20
)

func relaxGC() (restore func()) {
	percent, limit := debug.SetGCPercent(gcPercent), debug.SetMemoryLimit(gcUntilBytes)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

func captureFile(ctx context.Context, o captureOptions, opts capture.Options, decoder *exchange.Decoder, s streams) (p exchange.Counts, err error) {
	reader, file, err := exchange.Open(ctx, o.file, o.keylog, s.in, opts)
	if err != nil {
		return p, err
	}
	defer file.Close()
	p, err = exchange.Print(ctx, o.PrintOptions, reader, decoder, s.out)
	if err != nil {
		return p, fmt.Errorf("%s: %w", o.file, err)
	}
	if p.Shown == 0 {
		fmt.Fprintf(s.err, "isukit: note: %s\n", whyNothing(o, reader.Stats()))
	}
	return p, nil
}

func whyNothing(o captureOptions, stats capture.Stats) string {
	switch {
	case stats.Exchanges > 0:
		return fmt.Sprintf("none of %d exchanges matches the filters (--method, --path, --status, ...)", stats.Exchanges)
	case o.packet != "" && stats.Packets > 0 && stats.Segments == 0:
		return fmt.Sprintf("none of %d packets matches --filter %q", stats.Packets, o.packet)
	}
	return fmt.Sprintf("no readable HTTP exchange in %d packets (%d of them TCP)", stats.Packets, stats.Segments)
}

func liveHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "run it with sudo; without root, capture elsewhere: tcpdump -w - ... | isukit capture -"
	case errors.Is(err, fs.ErrNotExist):
		return "ip netns lists the network namespaces"
	}
	return "--live any captures on all interfaces; ip link lists them"
}

// captureLive shows exchanges as they come, until ctx ends: that is the clean end of a live capture.
func captureLive(ctx context.Context, o captureOptions, opts capture.Options, decoder *exchange.Decoder, s streams) (p exchange.Counts, err error) {
	netns := o.netns
	if netns != "" && !strings.Contains(netns, "/") {
		netns = "/run/netns/" + netns
	}
	live, err := capture.OpenLive(ctx, o.live, netns)
	if err != nil {
		return p, ui.Hinted(err, liveHint(err))
	}
	defer live.Close()
	where := o.live
	if o.host != "" {
		where += " of " + o.host
	}
	fmt.Fprintf(s.err, "isukit: capturing on %s; press Ctrl-C to stop\n", where)
	reader := capture.NewPacketReader(live, opts)
	// The source ends with ctx, after it has given what had come until then.
	if p, err = exchange.Print(context.WithoutCancel(ctx), o.PrintOptions, reader, decoder, s.out); err != nil {
		return p, err
	}
	dropped, err := live.Dropped()
	if err != nil {
		return p, err
	}
	stats := reader.Stats()
	fmt.Fprintf(s.err, "isukit: %d exchanges in %d packets; %d packets were lost by the capture\n", stats.Exchanges, stats.Packets, dropped)
	return p, nil
}
