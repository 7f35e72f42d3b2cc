package exchange

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReplayTellsHowFarItIs holds that a replay in which nothing differs is not silent for long.
func TestReplayTellsHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs bytes.Buffer
		r := &Replayer{Sent: 3, Differ: 1}
		done := r.Progress(10, &errs, false)
		time.Sleep(8 * time.Second)
		done()
		if want := strings.Repeat("isukit: 3 of 10 requests sent, 1 responses differ\n", 2); errs.String() != want {
			t.Errorf("in 8 s it said %q, want %q", errs.String(), want)
		}
	})
}
