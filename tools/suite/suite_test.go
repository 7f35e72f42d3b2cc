package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPrinter(t *testing.T) {
	var b strings.Builder
	p := newPrinter(&b)
	err := p.read(strings.NewReader(`{"Action":"start","Package":"isukit/a"}
{"Action":"run","Package":"isukit/a","Test":"TestX"}
{"Action":"output","Package":"isukit/a","Test":"TestX","Output":"=== RUN   TestX\n"}
{"Action":"output","Package":"isukit/a","Test":"TestX","Output":"    a_test.go:1: wrong\n"}
{"Action":"output","Package":"isukit/a","Test":"TestX","Output":"--- FAIL: TestX (1.20s)\n"}
{"Action":"fail","Package":"isukit/a","Test":"TestX","Elapsed":1.2}
{"Action":"output","Package":"isukit/a","Test":"TestY","Output":"a word of a right one\n"}
{"Action":"pass","Package":"isukit/a","Test":"TestY/one","Elapsed":3}
{"Action":"pass","Package":"isukit/a","Test":"TestY","Elapsed":4}
{"Action":"output","Package":"isukit/a","Test":"TestZ","Output":"panic: test timed out\n"}
{"Action":"output","Package":"isukit/a","Output":"FAIL\tisukit/a\t5.2s\n"}
{"Action":"fail","Package":"isukit/a","Elapsed":5.2}
{"ImportPath":"isukit/b","Action":"build-output","Output":"b.go:1: no\n"}
{"Action":"output","Package":"isukit/c","Output":"PASS\n"}
{"Action":"output","Package":"isukit/c","Output":"suite: CPU 1.25\n"}
{"Action":"output","Package":"isukit/c","Output":"ok  \tisukit/c\t0.1s\n"}
{"Action":"pass","Package":"isukit/c","Elapsed":0.1}
go: no such module
`))
	p.slowest(1)
	p.busiest(1)
	const want = `    a_test.go:1: wrong
--- FAIL: TestX (1.20s)
FAIL	isukit/a	5.2s
panic: test timed out
b.go:1: no
ok  	isukit/c	0.1s
go: no such module
the slowest of 2 tests:
     3.0 s  a TestY/one
CPU time, and time, of packages:
     1.2 s      0.1 s  c
`
	if err != nil || b.String() != want {
		t.Errorf("%v; got\n%s\nwant\n%s", err, b.String(), want)
	}
}

// TestRemoveDead: a killed run left a process that ignores signals, and one with the directory's name in its environment only: both are
// gone, with the directory, but not that of a run in progress.
func TestRemoveDead(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	alive, err := newRunIn(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dead, err := newRunIn(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{"trap '' TERM; cd " + dead.dir + "; while :; do sleep 0.1; done", "exec sleep 600"} {
		cmd := exec.Command("sh", "-c", script)
		cmd.Env = append(os.Environ(), "TMPDIR="+dead.dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		defer func() {
			if err := <-ended; err == nil {
				t.Errorf("%q ended by itself", script)
			}
		}()
	}
	if n := len(marked(dead.dir)); n < 2 {
		t.Errorf("%d processes bear the mark, want two at least", n)
	}
	dead.lock.Close() // as its death would
	removeDead()
	if left := marked(dead.dir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), dirName+"*")); len(left) != 1 || left[0] != alive.dir {
		t.Errorf("got %q, want the directory of the run under way alone", left)
	}
	if err := alive.remove(); err != nil {
		t.Error(err)
	}
}
