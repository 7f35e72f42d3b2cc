package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"isukit"
	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/proto/capture"
)

// captureHost captures on a host of the lab, the project or the deployed topology, or otherwise on an ssh destination.
func captureHost(ctx context.Context, o captureOptions, opts capture.Options, decoder *exchange.Decoder, s streams) (p exchange.Counts, err error) {
	netns, err := labNetns(ctx, o.host, o.stateDir)
	if err != nil {
		return p, err
	}
	if o.live == "" {
		o.live = "any"
	}
	app, _, err := round.FindProject("")
	if err != nil {
		return p, err
	}
	destination, here := round.SSHAddress(app, o.host, o.stateDir)
	if here || netns != "" {
		o.netns = netns
		return captureLive(ctx, o, opts, decoder, s)
	}
	if destination != "" {
		o.host, o.sshConfig = destination, cmp.Or(o.sshConfig, os.Getenv("ISUKIT_SSH_CONFIG"))
	}
	return captureSSH(ctx, o, opts, decoder, s)
}

// labNetns returns the network namespace of a host of the state directory's lab; "" when that has no such host.
func labNetns(ctx context.Context, name, stateDir string) (string, error) {
	lab, err := machine.OpenLab(machine.Options{StateDir: stateDir, Keep: true})
	if errors.Is(err, host.ErrUnsupported) {
		return "", nil // no lab can be here
	}
	if err != nil {
		return "", err
	}
	netns, err := lab.Netns(name)
	if errors.Is(err, host.ErrUnknownHost) {
		err = nil
	}
	return netns, errors.Join(err, lab.Close(context.WithoutCancel(ctx)))
}

// sshPatience is how long tcpdump on the host may take to end in order.
const sshPatience = 5 * time.Second

// captureSSH reads tcpdump's output from a host.
func captureSSH(ctx context.Context, o captureOptions, opts capture.Options, decoder *exchange.Decoder, s streams) (p exchange.Counts, err error) {
	argv, err := sshArgs(o)
	if err != nil {
		return p, err
	}
	cmd := exec.Command("ssh", argv...)
	// A Ctrl-C at the terminal is for isukit, which ends the capture in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said ui.Tail
	cmd.Stderr = &said
	input, err := cmd.StdinPipe()
	if err != nil {
		return p, err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return p, err
	}
	if err := cmd.Start(); err != nil {
		return p, ui.Hinted(fmt.Errorf("capture on %s: %w", o.host, err), "install openssh-client")
	}
	// The end of its input ends tcpdump, and so the stream.
	finished := make(chan struct{})
	defer close(finished)
	stop := context.AfterFunc(ctx, func() {
		input.Close()
		select {
		case <-finished:
		case <-time.After(sshPatience):
			cmd.Process.Kill()
		}
	})
	p, reading := readStream(context.WithoutCancel(ctx), o, output, opts, decoder, s)
	if stop() { // it exited before it was stopped
		input.Close()
	}
	io.Copy(io.Discard, output) // nothing is left, or nobody wants it
	ended := cmd.Wait()
	if ended != nil && ctx.Err() == nil {
		return p, ui.Hinted(fmt.Errorf("capture on %s: %w: %s", o.host, ended, strings.TrimSpace(said.String())),
			"needed on the host: ssh login without a prompt, root or passwordless sudo, and tcpdump")
	}
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, "dropped by") {
			fmt.Fprintf(s.err, "isukit: %s: %s\n", o.host, strings.TrimSpace(line))
		}
	}
	return p, reading
}

// readStream shows the exchanges of a pcap file that is still being written. A stream that ends before it begins is not a capture.
func readStream(ctx context.Context, o captureOptions, stream io.Reader, opts capture.Options, decoder *exchange.Decoder, s streams) (p exchange.Counts, err error) {
	var first [1]byte
	if _, err := io.ReadFull(stream, first[:]); err != nil {
		return p, nil // why, its writer says
	}
	fmt.Fprintf(s.err, "isukit: capturing on %s of %s; press Ctrl-C to stop\n", o.live, o.host)
	reader, err := capture.NewReader(io.MultiReader(bytes.NewReader(first[:]), stream), opts)
	if err != nil {
		return p, fmt.Errorf("capture on %s: %w", o.host, err)
	}
	return exchange.Print(ctx, o.PrintOptions, reader, decoder, s.out)
}

// sshArgs are the arguments of ssh that run scripts/capture.sh on the host as root.
func sshArgs(o captureOptions) ([]string, error) {
	script, err := isukit.Assets.ReadFile("scripts/capture.sh")
	if err != nil {
		return nil, err
	}
	args := []string{"-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"}
	if o.sshConfig != "" {
		if _, err := os.Stat(o.sshConfig); err != nil {
			return nil, ui.UsageError(fmt.Errorf("--ssh-config: %w", err), "")
		}
		args = append(args, "-F", o.sshConfig)
	}
	run := "sh -c " + shellQuote(string(script)) + " capture.sh " + shellQuote(o.live) + " " + shellQuote(o.packet) + ` "$SSH_CONNECTION"`
	// The login shell may be any; sh is asked.
	remote := "exec sh -c " + shellQuote(`if [ "$(id -u)" = 0 ]; then exec `+run+`; else exec sudo -n -- `+run+`; fi`)
	return append(args, "--", o.host, remote), nil
}
