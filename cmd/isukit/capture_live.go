package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
)

// liveRingBytes holds a quarter of a second of a gigabit, or three seconds of 1,000 hits of 10 kB each.
const liveRingBytes = 32 << 20

// liveHint says what helps against what kept a live capture from starting.
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
	live, err := capture.OpenLive(ctx, capture.LiveOptions{Interface: o.live, Netns: netns, RingBytes: liveRingBytes})
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
