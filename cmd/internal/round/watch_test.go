package round

import (
	"testing"
	"time"

	"isukit/infra/metrics"
)

// TestSampleBehind: a second's usage comes from the samples around it, also if some came late.
func TestSampleBehind(t *testing.T) {
	began := time.Unix(1_700_000_000, 0)
	var samples []metrics.Sample
	for _, at := range []float64{0, 1.001, 2.002, 5.4, 6.1} {
		samples = append(samples, metrics.Sample{At: began.Add(time.Duration(at * float64(time.Second)))})
	}
	for second, want := range []int{1, 2, 3, 3, 3, 4, 0, 0} {
		if got := sampleBehind(samples, began, second); got != want {
			t.Errorf("second %d: got sample %d, want %d", second, got, want)
		}
	}
}
