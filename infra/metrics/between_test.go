package metrics_test

import (
	"fmt"
	"testing"
	"time"

	"isukit/infra/metrics"
)

// worker is a process called so: its number, its CPU time in hundredths of a second, and when it began.
type worker struct{ pid, ticks, start int }

func workers(t *testing.T, all ...worker) metrics.Sample {
	t.Helper()
	text := "==> /proc/stat <==\ncpu 1 0 1 1 0 0 0 0\n"
	for _, w := range all {
		text += fmt.Sprintf("\n==> /proc/%d/stat <==\n%d (worker) S 1 1 1 0 -1 0 0 0 0 0 %d 0 0 0 20 0 1 0 %d 0 5 0\n", w.pid, w.pid, w.ticks, w.start)
	}
	s, err := metrics.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestProcessesThatEnd has one of two processes of a name end, and another begin with a number that was used before.
func TestProcessesThatEnd(t *testing.T) {
	before := workers(t, worker{10, 4000, 1}, worker{11, 9000, 2})
	for name, c := range map[string]struct {
		after metrics.Sample
		want  time.Duration
	}{
		"one ends":        {workers(t, worker{10, 4050, 1}), 500 * time.Millisecond},
		"one begins":      {workers(t, worker{10, 4050, 1}, worker{11, 9000, 2}, worker{12, 7, 99}), 570 * time.Millisecond},
		"a number again":  {workers(t, worker{10, 4000, 1}, worker{11, 20, 77}), 200 * time.Millisecond},
		"nothing is done": {workers(t, worker{10, 4000, 1}, worker{11, 9000, 2}), 0},
	} {
		if got := metrics.Between(before, c.after).Processes["worker"].CPU; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
