package hosttest

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

func start(t *testing.T, h host.Host, s host.Service) {
	t.Helper()
	infratest.NoError(t, h.Start(t.Context(), s))
}

func services(t *testing.T, f *fixture) {
	ctx, log, before := t.Context(), in(f.a, "log/s.log"), time.Now().Truncate(time.Second)
	service := host.Service{Name: "s", Argv: f.Serve, LogFile: log, Stamp: "one"}
	if _, err := f.a.State(ctx, "s"); !errors.Is(err, host.ErrUnknownService) {
		t.Errorf("State before Start: got error %v, want ErrUnknownService", err)
	}
	if err := f.a.Stop(ctx, "s", time.Second); err != nil {
		t.Errorf("Stop before Start: got %v, want no error", err)
	}
	for round := 1; round <= 2; round++ {
		start(t, f.a, service)
		if err := f.a.Start(ctx, service); err == nil {
			t.Error("Start of what runs: got no error")
		}
		if st, err := f.a.State(ctx, "s"); err != nil || !st.Running || st.Exit != "" || st.PID == 0 || st.Stamp != "one" || st.Since.Before(before) || st.Since.After(time.Now().Add(time.Second)) {
			t.Errorf("State after Start: got %+v, %v; want it running since now, with its stamp", st, err)
		}
		if _, err := f.b.State(ctx, "s"); !errors.Is(err, host.ErrUnknownService) {
			t.Errorf("State on the other host: got error %v, want ErrUnknownService", err)
		}
		wait.For(t, "the log", func() bool {
			text, _ := f.a.Get(ctx, log)
			return strings.Count(string(text), "serving\n") == round
		})
		infratest.NoError(t, f.a.Stop(ctx, "s", 5*time.Second))
		if st, err := f.a.State(ctx, "s"); err != nil || st.Running || st.Exit == "" {
			t.Errorf("State after Stop: got %+v, %v; want how it ended", st, err)
		}
	}
	if err := f.a.Start(ctx, host.Service{Name: "t", Argv: []string{"no-such-program"}, LogFile: log}); err == nil {
		t.Error("Start(no-such-program): got no error")
	}
}

func stopIsPatientOnce(t *testing.T, f *fixture) {
	ctx, log := t.Context(), in(f.a, "stubborn.log")
	start(t, f.a, host.Service{Name: "s", Argv: f.Stubborn, LogFile: log})
	wait.For(t, "the log", func() bool { text, _ := f.a.Get(ctx, log); return strings.HasSuffix(string(text), "serving\n") })
	infratest.NoError(t, f.a.Stop(ctx, "s", 200*time.Millisecond))
	if st, err := f.a.State(ctx, "s"); err != nil || st.Running {
		t.Errorf("State after Stop: got %+v, %v; want it ended", st, err)
	}
}

func serviceThatEnds(t *testing.T, f *fixture) {
	ctx, log := t.Context(), in(f.a, "ends.log")
	start(t, f.a, host.Service{Name: "s", Argv: f.Fail, LogFile: log})
	wait.For(t, "the end of the service", func() bool { st, err := f.a.State(ctx, "s"); return err == nil && !st.Running })
	if st, err := f.a.State(ctx, "s"); err != nil || st.Exit != "exit status 3" || st.OutOfMemory {
		t.Errorf("State: got %+v, %v; want exit status 3, not out of memory", st, err)
	}
	if text, err := f.a.Get(ctx, log); err != nil || string(text) != "bad\n" {
		t.Errorf("log: got %q, %v; want bad", text, err)
	}
}

// orphans: the start of a service ends what an earlier one left whose first process was killed.
func orphans(t *testing.T, f *fixture) {
	ctx, log := t.Context(), in(f.a, "orphans.log")
	start(t, f.a, host.Service{Name: "s", Argv: []string{"sh", "-c", "sleep 1000 & echo $!; wait"}, LogFile: log})
	var child string
	wait.For(t, "the service's child", func() bool {
		text, err := f.a.Get(ctx, log)
		child = strings.TrimSpace(string(text))
		return err == nil && child != ""
	})
	sh := func(script string, args ...string) int {
		res, err := f.a.Run(ctx, host.Command{Argv: append([]string{"sh", "-c", script}, args...)})
		infratest.NoError(t, err)
		return res.Code
	}
	lives := func() bool { return sh(`grep -q '^State:[[:space:]]*[RSD]' "/proc/$0/status"`, child) == 0 }
	st, err := f.a.State(ctx, "s")
	if err != nil || !lives() {
		t.Fatalf("State: %v; its child lives: %v", err, lives())
	}
	sh(`kill -9 "$0"`, strconv.Itoa(st.PID))
	wait.For(t, "the end of the service", func() bool { st, err := f.a.State(ctx, "s"); return err == nil && !st.Running })
	start(t, f.a, host.Service{Name: "s", Argv: f.Serve, LogFile: log})
	if lives() {
		t.Errorf("process %s of the previous service still runs with the new one", child)
	}
}

func forget(t *testing.T, f *fixture) {
	ctx := t.Context()
	for _, name := range []string{"one", "two"} {
		start(t, f.a, host.Service{Name: name, Argv: f.Serve, LogFile: in(f.a, name+".log")})
	}
	if names, err := f.a.Services(ctx); err != nil || !slices.Equal(names, []string{"one", "two"}) {
		t.Errorf("Services: got %q, %v; want one and two", names, err)
	}
	if err := f.a.Forget(ctx, "one"); err == nil {
		t.Error("Forget of what runs: got no error")
	}
	infratest.NoError(t, f.a.Stop(ctx, "one", time.Second))
	for range 2 {
		if err := f.a.Forget(ctx, "one"); err != nil {
			t.Errorf("Forget: %v", err)
		}
	}
	if names, err := f.a.Services(ctx); err != nil || !slices.Equal(names, []string{"two"}) {
		t.Errorf("Services after Forget(one): got %q, %v; want two", names, err)
	}
}

func used(t *testing.T, f *fixture) {
	ctx := t.Context()
	start(t, f.a, host.Service{Name: "s", Argv: f.Serve, LogFile: in(f.a, "used.log")})
	got, err := f.a.Used(ctx)
	infratest.NoError(t, err)
	if got.Busy > got.Total || got.MemoryBytes < 0 || got.Services["s"].Processes < 1 || len(got.Services) != 1 {
		t.Errorf("Used: got %+v; want less busy than time went by, and one service with a process", got)
	}
}

func hosts(t *testing.T, f *fixture) {
	got, err := f.Hosts(t.Context())
	if err != nil || !slices.Equal(got, f.Wants[:]) {
		t.Errorf("Hosts: got %+v, %v; want %+v", got, err, f.Wants)
	}
	if _, err := f.Driver.Host("nobody"); !errors.Is(err, host.ErrUnknownHost) {
		t.Errorf("Host(nobody): got error %v, want ErrUnknownHost", err)
	}
}

func ensureAgain(t *testing.T, f *fixture) {
	ctx := t.Context()
	start(t, f.a, host.Service{Name: "s", Argv: f.Serve, LogFile: in(f.a, "again.log")})
	before, err := f.a.State(ctx, "s")
	infratest.NoError(t, err)
	other := f.Wants
	other[0].MemoryBytes = 600 << 20
	for _, wants := range [][]host.Want{f.Wants[:], other[:], f.Wants[:1]} {
		infratest.NoError(t, f.Ensure(ctx, wants))
		if st, err := f.host(t, f.Wants[0].Name).State(ctx, "s"); err != nil || st != before {
			t.Errorf("a service after Ensure(%+v): got %+v, %v; want it as before, %+v", wants, st, err, before)
		}
	}
	if list, err := f.Hosts(ctx); err != nil || len(list) != 2 {
		t.Errorf("Hosts after one was not wanted any more: got %+v, %v; want both", list, err)
	}
}

func removeOne(t *testing.T, f *fixture) {
	ctx := t.Context()
	for _, h := range []host.Host{f.a, f.b} {
		start(t, h, host.Service{Name: "s", Argv: f.Serve, LogFile: in(h, "removed.log")})
	}
	for range 2 {
		infratest.NoError(t, f.Remove(ctx, f.Wants[0].Name, "nobody"))
	}
	if _, err := f.Driver.Host(f.Wants[0].Name); !errors.Is(err, host.ErrUnknownHost) {
		t.Errorf("Host after Remove: got error %v, want ErrUnknownHost", err)
	}
	if st, err := f.b.State(ctx, "s"); err != nil || !st.Running {
		t.Errorf("a service on the other host after Remove: got %+v, %v; want it running", st, err)
	}
	infratest.NoError(t, f.Ensure(ctx, f.Wants[:]))
	a := f.host(t, f.Wants[0].Name)
	if names, err := a.Services(ctx); err != nil || len(names) > 0 {
		t.Errorf("Services of a host that was created again: got %q, %v; want none", names, err)
	}
	if text, err := a.Get(ctx, in(a, "removed.log")); err == nil {
		t.Errorf("a file of a host that was removed: got %q, want none", text)
	}
}

func refused(t *testing.T, f *fixture) {
	for _, w := range []host.Want{{}, {Name: "a/b"}, {Name: "-x"}, {Name: "longer-than-it-may-be"}, {Name: "x", CPUs: -1}} {
		if err := f.Ensure(t.Context(), []host.Want{w}); err == nil {
			t.Errorf("Ensure(%+v): got no error", w)
		}
	}
	if err := f.Ensure(t.Context(), []host.Want{f.Wants[0], f.Wants[0]}); err == nil {
		t.Error("Ensure of one name twice: got no error")
	}
	if list, err := f.Hosts(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("Hosts after what was refused: got %+v, %v; want the two of before", list, err)
	}
}

func lock(t *testing.T, f *fixture) {
	ctx, before := t.Context(), time.Now().Truncate(time.Second)
	release, err := f.Lock(ctx, "alice")
	infratest.NoError(t, err)
	var locked *host.LockedError
	if _, err := f.Lock(ctx, "bob"); !errors.As(err, &locked) || locked.Holder.Name != "alice" || locked.Holder.Since.Before(before) || locked.Holder.Since.After(time.Now()) {
		t.Errorf("Lock while alice has it: got error %v, want a LockedError with her name and a time", err)
	}
	infratest.NoError(t, release())
	release, err = f.Lock(ctx, "bob")
	if err != nil {
		t.Fatalf("Lock after it was released: %v", err)
	}
	infratest.NoError(t, release())
}

func dial(t *testing.T, f *fixture) {
	if f.Listen == nil {
		return
	}
	ctx := t.Context()
	address := f.b.About().Address + ":7000"
	if f.b.About().Here && f.Name() == "local" {
		port, err := host.FreePort()
		infratest.NoError(t, err)
		address = f.b.About().Address + ":" + strconv.Itoa(port)
	}
	if _, err := f.Dial(ctx, "tcp", address); err == nil {
		t.Errorf("Dial(%s) before anything listens: got no error", address)
	}
	argv := append(slices.Clone(f.Listen), address)
	start(t, f.b, host.Service{Name: "listen", Argv: argv, LogFile: in(f.b, "listen.log")})
	wait.For(t, "an answer", func() bool {
		conn, err := f.Dial(ctx, "tcp", address)
		if err != nil {
			return false
		}
		defer conn.Close()
		got := make([]byte, 5)
		n, _ := conn.Read(got)
		return string(got[:n]) == "hello"
	})
}

func reopen(t *testing.T, f *fixture) {
	if !f.Keeps {
		return
	}
	ctx := t.Context()
	start(t, f.a, host.Service{Name: "s", Argv: f.Serve, LogFile: in(f.a, "reopen.log"), Stamp: "x"})
	before, err := f.a.State(ctx, "s")
	infratest.NoError(t, err)
	d := f.Open(t)
	h, err := d.Host(f.Wants[0].Name)
	infratest.NoError(t, err)
	if got := h.About(); got != f.a.About() {
		t.Errorf("About of a host that was found again: got %+v, want %+v", got, f.a.About())
	}
	if st, err := h.State(ctx, "s"); err != nil || st != before {
		t.Errorf("a service that was found again: got %+v, %v; want %+v", st, err, before)
	}
	infratest.NoError(t, h.Stop(ctx, "s", 5*time.Second))
	infratest.NoError(t, d.Close(ctx))
	if st, err := f.a.State(ctx, "s"); err != nil || st.Running || st.Exit == "" {
		t.Errorf("a service that another has stopped: got %+v, %v; want how it ended", st, err)
	}
}
