package host_test

import (
	"context"
	"io"
	"testing"

	"isukit/infra/host"
	"isukit/infra/host/hosttest"
)

func TestMemoryDriver(t *testing.T) {
	serve := func(ctx context.Context, p host.Proc) int {
		io.WriteString(p.Stdout, "serving\n")
		<-ctx.Done()
		return 0
	}
	d := host.NewMemoryDriver(map[string]host.Program{
		"echo":  func(_ context.Context, p host.Proc) int { io.WriteString(p.Stdout, p.Args[0]+"\n"); return 0 },
		"fail":  func(_ context.Context, p host.Proc) int { io.WriteString(p.Stderr, "bad\n"); return 3 },
		"cat":   func(_ context.Context, p host.Proc) int { p.Stdout.Write(p.Stdin); return 0 },
		"serve": serve,
	})
	hosttest.Run(t, hosttest.Subject{
		Open:  func(*testing.T) host.Driver { return d },
		Wants: [2]host.Want{{Name: "s1", CPUs: 2, MemoryBytes: 1 << 30}, {Name: "s2", CPUs: 0.5}},
		Echo:  []string{"echo"}, Fail: []string{"fail"}, Cat: []string{"cat"}, Serve: []string{"serve"}, Stubborn: []string{"serve"},
	})
}
