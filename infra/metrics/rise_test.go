package metrics_test

import (
	"testing"
	"time"

	"isukit/infra/metrics"
)

// TestRise looks at hosts whose CPUs are so many tenths of a core busy, a second each, from second 0 on.
func TestRise(t *testing.T) {
	for name, c := range map[string]struct {
		tenths      []int
		began, last int // seconds; -1 is never
	}{
		"idle":                    {[]int{0, 1, 0, 2, 1, 0, 1, 0, 0, 2}, -1, -1},
		"a load":                  {[]int{0, 1, 0, 1, 12, 18, 19, 18, 1, 0, 0}, 4, 8},
		"a burst is none":         {[]int{0, 1, 0, 1, 12, 18, 1, 0, 1, 9, 1}, -1, -1},
		"after a burst":           {[]int{0, 1, 0, 19, 1, 0, 15, 15, 15, 1}, 6, 9},
		"a pause within":          {[]int{0, 0, 0, 9, 9, 9, 0, 0, 9, 9, 0}, 3, 10},
		"beside another":          {[]int{8, 9, 8, 9, 8, 14, 15, 15, 9, 8}, 5, 8},
		"too early to be told":    {[]int{19, 19, 19, 19, 19, 19}, -1, -1},
		"so small that it is one": {[]int{0, 0, 0, 3, 3, 3, 0}, 3, 6},
	} {
		start := time.Unix(1_800_000_000, 0)
		samples := []metrics.Sample{{At: start}}
		rise := &metrics.Rise{}
		for i, tenths := range c.tenths {
			s := samples[i]
			s.At = s.At.Add(time.Second)
			s.CPU.User += time.Duration(tenths) * 100 * time.Millisecond
			samples = append(samples, s)
			rise.Take(samples) // as it comes, sample by sample
		}
		at := func(moment time.Time) int {
			if moment.IsZero() {
				return -1
			}
			return int(moment.Sub(start) / time.Second)
		}
		if at(rise.Began) != c.began || at(rise.Last) != c.last {
			t.Errorf("%s: from %d to %d, want %d to %d", name, at(rise.Began), at(rise.Last), c.began, c.last)
		}
	}
}
