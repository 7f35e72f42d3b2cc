package proc

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	const tail = " S 1 77 77 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 1 0 12345 1000000 250 18446744073709551615 1"
	want := Stat{ID: ID{PID: 42, Start: 12345}, State: 'S', Parent: 1, Group: 77, Ticks: 210, RSSPages: 250}
	for _, name := range []string{"(nginx)", "(a b)", "(a) S (b)", "(()"} {
		got, err := Parse("42 " + name + tail)
		if err != nil || got != want {
			t.Errorf("Parse of a program called %s: got %+v, %v; want %+v", name, got, err, want)
		}
	}
	for _, text := range []string{"", ")", "1 (x)", "1 (x) S 1 2", "1 (x) S a b c d e f g h i j k l m n o p q r s t u v w x"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q): got %+v, want an error", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("42 (nginx) S 1 77 77 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 1 0 12345 1000000 250 18446744073709551615 1")
	f.Add("1 (a) S (b)")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = Parse(text) // it must not panic
	})
}

// TestUnlock: a lock is free for others though a copy of its file is open elsewhere, as in a child that is being forked.
func TestUnlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := unix.Dup(int(lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(copied)
	if err := Unlock(lock); err != nil {
		t.Fatal(err)
	}
	again, err := TryLock(path)
	if err != nil {
		t.Fatalf("lock it again: %v", err)
	}
	again.Close()
}
