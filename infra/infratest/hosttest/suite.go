package hosttest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/infratest"
)

// Subject is a driver under test.
type Subject struct {
	// Open opens the driver. Opened again, it must find what it made before, if Keeps.
	Open func(t *testing.T) host.Driver
	// Wants are two hosts.
	Wants [2]host.Want
	Keeps bool

	// Programs that behave alike wherever they run. Echo prints its argument and exits with 0; Fail prints "bad" to stderr and
	// exits with 3; Cat prints what it reads.
	Echo, Fail, Cat []string
	// Serve prints "serving" and runs until it gets a signal; Stubborn ignores the signal.
	Serve, Stubborn []string
	// Listen answers connections to port 7000 of the host's address with "hello"; nil where programs cannot.
	Listen []string
}

// Shell is a subject's programs for hosts that have a POSIX shell.
func Shell(s Subject) Subject {
	s.Echo, s.Fail, s.Cat = []string{"sh", "-c", `echo "$0"`}, []string{"sh", "-c", "echo bad >&2; exit 3"}, []string{"cat"}
	s.Serve = []string{"sh", "-c", "echo serving; exec sleep 1000"}
	s.Stubborn = []string{"sh", "-c", "trap '' TERM; echo serving; while :; do sleep 0.1; done"}
	return s
}

// Program makes the test binary one of the programs of a subject when it was started as one. TestMain calls it first.
//
//	Listen: []string{os.Args[0], hosttest.ListenArg, "127.0.0.1:7000"}
func Program() {
	if len(os.Args) != 3 || os.Args[1] != ListenArg {
		return
	}
	l, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		_, _ = conn.Write([]byte("hello")) // the other end reports whether it came
		conn.Close()
	}
}

// ListenArg makes the test binary listen, see Program.
const ListenArg = "hosttest-listen"

// Run holds a driver to what host.Driver and host.Host promise.
func Run(t *testing.T, s Subject) {
	tests := []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"About", about}, {"Files", files}, {"SeveralFiles", severalFiles}, {"GetIsBounded", getIsBounded}, {"Run", run}, {"RunReads", runReads},
		{"Services", services}, {"StopIsPatientOnce", stopIsPatientOnce}, {"ServiceThatEnds", serviceThatEnds}, {"Orphans", orphans},
		{"Forget", forget}, {"Used", used}, {"Hosts", hosts}, {"EnsureAgain", ensureAgain}, {"RemoveOne", removeOne},
		{"Refused", refused}, {"Lock", lock}, {"Dial", dial}, {"Reopen", reopen},
	}
	d := s.Open(t)
	t.Cleanup(func() {
		if err := errors.Join(d.Down(context.Background()), d.Close(context.Background())); err != nil {
			t.Errorf("Down and Close: %v", err)
		}
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			infratest.NoError(t, d.Ensure(t.Context(), s.Wants[:]))
			f := &fixture{Subject: s, Driver: d}
			f.a, f.b = f.host(t, s.Wants[0].Name), f.host(t, s.Wants[1].Name)
			t.Cleanup(func() { f.stopAll(t) })
			tt.test(t, f)
		})
	}
}

// fixture is a driver with both hosts up.
type fixture struct {
	Subject
	host.Driver
	a, b host.Host
}

func (f *fixture) host(t *testing.T, name string) host.Host {
	t.Helper()
	h, err := f.Driver.Host(name)
	infratest.NoError(t, err)
	return h
}

// stopAll leaves the hosts as the next test wants them.
func (f *fixture) stopAll(t *testing.T) {
	for _, w := range f.Wants {
		h, err := f.Driver.Host(w.Name)
		if errors.Is(err, host.ErrUnknownHost) {
			continue
		}
		infratest.NoError(t, err)
		names, err := h.Services(context.Background())
		infratest.NoError(t, err)
		for _, name := range names {
			if err := errors.Join(h.Stop(context.Background(), name, 0), h.Forget(context.Background(), name)); err != nil {
				t.Error(err)
			}
		}
	}
}

func in(h host.Host, name string) string { return path.Join(h.About().Dir, name) }

func about(t *testing.T, f *fixture) {
	for i, h := range []host.Host{f.a, f.b} {
		a := h.About()
		if a.Name != f.Wants[i].Name || a.Driver != f.Name() {
			t.Errorf("About: got name %q, driver %q; want %q, %q", a.Name, a.Driver, f.Wants[i].Name, f.Name())
		}
		if net.ParseIP(a.Address) == nil || a.CPUs <= 0 || a.Threads < 1 || a.MemoryBytes < 1<<20 || !path.IsAbs(a.Dir) || a.Kernel == "" {
			t.Errorf("About: got %+v; want an IP address, CPUs, threads, memory, an absolute directory and a kernel", a)
		}
	}
	if f.Name() != "memory" && f.a.About().Dir == f.b.About().Dir && f.a.About().Here {
		t.Errorf("two hosts on this machine have one directory, %s", f.a.About().Dir)
	}
}

func files(t *testing.T, f *fixture) {
	ctx, file := t.Context(), in(f.a, "a/b/c d'.txt")
	if _, err := f.a.Get(ctx, file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get before Put: got error %v, want fs.ErrNotExist", err)
	}
	for _, text := range []string{"one", "two, longer\n\x00\xff", ""} {
		infratest.NoError(t, f.a.Put(ctx, file, []byte(text), 0o640))
		if got, err := f.a.Get(ctx, file); err != nil || string(got) != text {
			t.Errorf("Get after Put(%q): got %q, %v", text, got, err)
		}
	}
	infratest.NoError(t, f.a.Remove(ctx, in(f.a, "a")))
	if _, err := f.a.Get(ctx, file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get after Remove of the directory above: got error %v, want fs.ErrNotExist", err)
	}
	if err := f.a.Remove(ctx, in(f.a, "a")); err != nil {
		t.Errorf("Remove of what is not there: got %v, want no error", err)
	}
}

func severalFiles(t *testing.T, f *fixture) {
	ctx := t.Context()
	files := []host.File{
		{Path: in(f.a, "many/one"), Data: []byte("one\x00\n"), Mode: 0o600},
		{Path: in(f.a, "many/empty"), Data: nil, Mode: 0o644},
		{Path: in(f.a, "many/it's deep/large"), Data: bytes.Repeat([]byte("0123456789abcdef"), 20000), Mode: 0o755},
		{Path: in(f.a, "many/no end"), Data: []byte("put x 1 600"), Mode: 0o640},
	}
	for range 2 { // over themselves, too
		infratest.NoError(t, host.PutAll(ctx, f.a, files))
		for _, file := range files {
			if got, err := f.a.Get(ctx, file.Path); err != nil || !bytes.Equal(got, file.Data) {
				t.Errorf("Get(%s) after PutAll: got %d bytes, %v; want %d", file.Path, len(got), err, len(file.Data))
			}
		}
	}
	if f.Name() != "memory" {
		got, err := f.a.Run(ctx, host.Command{Argv: []string{"stat", "-c", "%a", files[0].Path, files[1].Path, files[2].Path, files[3].Path}})
		if err != nil || string(got.Stdout) != "600\n644\n755\n640\n" {
			t.Errorf("modes after PutAll: got %q, %v", got.Stdout, err)
		}
	}
	files[1].Path = files[0].Path + "/below a file"
	if err := host.PutAll(ctx, f.a, files); err == nil && f.Name() != "memory" {
		t.Error("PutAll of a file below a file: got no error")
	}
	if err := f.a.Remove(ctx, in(f.a, "many")); err != nil {
		t.Error(err)
	}
}

func getIsBounded(t *testing.T, f *fixture) {
	file := in(f.a, "large")
	infratest.NoError(t, f.a.Put(t.Context(), file, make([]byte, host.MaxFileBytes+1), 0o600))
	if _, err := f.a.Get(t.Context(), file); !errors.Is(err, host.ErrTooLarge) {
		t.Errorf("Get of %d bytes: got error %v, want ErrTooLarge", host.MaxFileBytes+1, err)
	}
	if err := f.a.Remove(t.Context(), file); err != nil {
		t.Error(err)
	}
}

func run(t *testing.T, f *fixture) {
	ctx := t.Context()
	got, err := f.a.Run(ctx, host.Command{Argv: append(f.Echo, `it's "quoted" $HOME`)})
	if err != nil || got.Code != 0 || string(got.Stdout) != "it's \"quoted\" $HOME\n" || len(got.Stderr) > 0 {
		t.Errorf("Run(echo): got code %d, stdout %q, stderr %q, error %v", got.Code, got.Stdout, got.Stderr, err)
	}
	got, err = f.a.Run(ctx, host.Command{Argv: f.Fail})
	if err != nil || got.Code != 3 || string(got.Stderr) != "bad\n" {
		t.Errorf("Run(fail): got code %d, stderr %q, error %v; want 3, bad, no error", got.Code, got.Stderr, err)
	}
	var through bytes.Buffer
	if err := f.a.Pipe(ctx, host.Command{Argv: []string{"cat"}}, bytes.NewReader(make([]byte, 3<<20)), &through); err != nil || through.Len() != 3<<20 {
		t.Errorf("Pipe(cat): %d bytes of %d, %v", through.Len(), 3<<20, err)
	}
	if err := f.a.Pipe(ctx, host.Command{Argv: f.Fail}, nil, &through); err == nil {
		t.Error("Pipe(fail): got no error")
	}
	if _, err := f.a.Run(ctx, host.Command{Argv: []string{"no-such-program"}}); err == nil {
		t.Error("Run(no-such-program): got no error")
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := f.a.Run(short, host.Command{Argv: f.Serve}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run past its context's end: got error %v, want context.DeadlineExceeded", err)
	}
}

func runReads(t *testing.T, f *fixture) {
	for _, text := range []string{"", "one line\n", "no end", string(make([]byte, 200<<10))} {
		got, err := f.a.Run(t.Context(), host.Command{Argv: f.Cat, Stdin: []byte(text)})
		if err != nil || string(got.Stdout) != text {
			t.Errorf("Run(cat) of %d bytes: got %d bytes, %v", len(text), len(got.Stdout), err)
		}
	}
	// A program that does not read its input has done nothing wrong.
	got, err := f.a.Run(t.Context(), host.Command{Argv: append(f.Echo, "x"), Stdin: make([]byte, 1<<20)})
	if err != nil || string(got.Stdout) != "x\n" {
		t.Errorf("Run(echo) with input: got %q, %v", got.Stdout, err)
	}
}
