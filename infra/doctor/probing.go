package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"
	"time"

	"isukit/infra/host"
)

// Probe is a program that reads Targets as JSON from its standard input, tries them, and prints what came of it: Argv[0] is a
// file of this machine. It is copied to a host that is not here, and removed afterwards.
type Probe struct{ Argv []string }

// probeLimit bounds a probe, its copying aside.
const probeLimit = 30 * time.Second

// From tries the targets from a host.
func (p Probe) From(ctx context.Context, at host.Host, targets []Target) (_ []Tried, err error) {
	if len(targets) == 0 {
		return nil, nil
	}
	fail := func(err error) ([]Tried, error) { return nil, fmt.Errorf("probe from %s: %w", at.About().Name, err) }
	argv := append([]string{}, p.Argv...)
	if arch := at.About().Arch; arch != "" && (arch != runtime.GOARCH || runtime.GOOS != "linux") {
		return fail(fmt.Errorf("%w: the probe is isukit itself, which is for %s/%s here, and the host is linux/%s", host.ErrUnsupported, runtime.GOOS, runtime.GOARCH, arch))
	}
	if !at.About().Here {
		program, err := os.ReadFile(argv[0])
		if err != nil {
			return fail(err)
		}
		argv[0] = path.Join(at.About().Dir, "isukit-probe")
		if err := at.Put(ctx, argv[0], program, 0o700); err != nil {
			return fail(err)
		}
		defer func() { _ = at.Remove(context.WithoutCancel(ctx), argv[0]) }() // what is left is in isukit's own directory
	}
	input, err := json.Marshal(targets)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: argv, Stdin: input})
	if err != nil {
		return fail(err)
	}
	if res.Code != 0 {
		return fail(fmt.Errorf("exit status %d: %s", res.Code, strings.TrimSpace(string(res.Stderr))))
	}
	var tried []Tried
	if err := json.Unmarshal(res.Stdout, &tried); err != nil {
		return fail(err)
	}
	if len(tried) != len(targets) {
		return fail(fmt.Errorf("%d answers for %d targets", len(tried), len(targets)))
	}
	return tried, nil
}
