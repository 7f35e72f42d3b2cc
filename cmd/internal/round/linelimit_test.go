package round

import (
	"testing"
	"time"
)

func TestBurst(t *testing.T) {
	at := time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)
	b := lineLimit{now: func() time.Time { return at }}
	shown := 0
	for range 150 {
		show, missed := b.take()
		if show {
			shown++
		}
		if missed != 0 {
			t.Errorf("%d lines are said to be missing in the middle of a second", missed)
		}
	}
	if shown != linesPerSecond {
		t.Errorf("%d of 150 lines of one second are shown, want %d", shown, linesPerSecond)
	}
	at = at.Add(time.Second)
	if show, missed := b.take(); !show || missed != 150-linesPerSecond {
		t.Errorf("the first line of the next second: shown %v, %d missing before it; want true, %d", show, missed, 150-linesPerSecond)
	}
	if n := b.rest(); n != 0 {
		t.Errorf("%d lines are missing at the end", n)
	}
}
