package input_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"isukit/input"
)

// hostile is a directory with a plain file, and with what else may stand in a file's place.
func hostile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	inside := filepath.Join(dir, "inside")
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o600), os.MkdirAll(filepath.Join(inside, "sub"), 0o755),
		os.WriteFile(filepath.Join(inside, "plain"), []byte("plain"), 0o600), syscall.Mkfifo(filepath.Join(inside, "pipe"), 0o600),
		os.Symlink("plain", filepath.Join(inside, "link")), os.Symlink("../secret", filepath.Join(inside, "out")),
		os.Symlink(filepath.Join(dir, "secret"), filepath.Join(inside, "absolute")), os.Symlink("..", filepath.Join(inside, "up")),
		os.Symlink("/dev/zero", filepath.Join(inside, "zero")), os.Symlink("loop", filepath.Join(inside, "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return inside
}

// within fails a test whose work waits for something that does not come.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: still waiting after a minute", what)
	}
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := hostile(t)
	for _, name := range []string{"pipe", "zero", "sub", "."} {
		within(t, name, func() {
			var not *input.NotRegularError
			if _, err := input.Read(filepath.Join(dir, name), 10); !errors.As(err, &not) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for _, name := range []string{"plain", "link"} {
		if text, err := input.Read(filepath.Join(dir, name), 5); err != nil || string(text) != "plain" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	var long *input.TooLongError
	if _, err := input.Read(filepath.Join(dir, "plain"), 4); !errors.As(err, &long) {
		t.Errorf("a file that is too long: %v", err)
	}
	if _, err := input.Read(filepath.Join(dir, "absent"), 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestDirIsNotLeft(t *testing.T) {
	inside := hostile(t)
	d, err := input.OpenDir(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, name := range []string{"out", "absolute", "up/secret", "../secret", "/etc/passwd", filepath.Join(filepath.Dir(inside), "secret"), "pipe", "zero", "loop", "sub", "", "."} {
		within(t, name, func() {
			if f, err := d.Open(name); err == nil {
				t.Errorf("%q was opened as %s", name, f.Name())
			}
		})
	}
	for _, name := range []string{"plain", "link", "sub/../plain"} {
		f, err := d.Open(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f.Close()
	}
	for name, ok := range map[string]bool{"sub": true, "up": false, "plain": false, "..": false} {
		sub, err := d.Sub(name)
		if (err == nil) != ok {
			t.Errorf("the directory %s: %v", name, err)
		}
		if sub != nil {
			sub.Close()
		}
	}
}

func TestCheckJSON(t *testing.T) {
	limits := input.JSONLimits{Depth: 3, Objects: 2, Values: 12}
	for text, want := range map[string]string{
		`{"a":[1,2,{"b":"[[[[{{{{,,,,,,,,,,,,,,\"[["}]}`: "", `[[[1]]]`: "", `[[[[1]]]]`: "deep", `{}{}{}`: "objects",
		`[1,2,3,4,5,6,7,8,9,10]`: "", `[1,2,3,4,5,6,7,8,9,10,11,12,13]`: "values", `"unfinished \`: "", `]]]]`: "",
	} {
		err := input.CheckJSON([]byte(text), limits)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
