package metrics

import (
	"slices"
	"time"
)

// Rise finds in a host's samples when a load began and was last there, compared with what the host did before.
type Rise struct {
	// Began is the beginning of the first sample under load, Last the end of the last one; zero until there is one.
	Began, Last time.Time

	taken int       // samples that were looked at
	quiet []float64 // cores in use before the load, the last of them last
	loud  int       // samples in a row that were above it
	since time.Time
}

// Bounds of what is a load.
const (
	riseCores = 0.3 // so many cores more than before
	riseRow   = 3   // for this many samples in a row, as a deploy or a cron job takes less
	riseQuiet = 30  // samples of the time before
)

// Take looks at the samples that are new since the last call, and tells whether the host is under load in the last of them.
func (r *Rise) Take(samples []Sample) bool {
	now := false
	for r.taken = max(r.taken, 1); r.taken < len(samples); r.taken++ {
		a, b := samples[r.taken-1], samples[r.taken]
		d := Between(a, b)
		if wall := b.At.Sub(a.At); wall > 0 {
			now = r.take(a.At, b.At, float64(d.CPU.User+d.CPU.System)/float64(wall))
		}
	}
	return now
}

func (r *Rise) take(from, to time.Time, cores float64) bool {
	if len(r.quiet) < riseRow || cores < median(r.quiet)+riseCores {
		r.loud = 0
		if r.Began.IsZero() {
			r.quiet = append(r.quiet[max(0, len(r.quiet)-riseQuiet+1):], cores)
		}
		return false
	}
	if r.loud++; r.loud == 1 {
		r.since = from
	}
	if r.Began.IsZero() {
		if r.loud < riseRow {
			return false
		}
		r.Began = r.since
	}
	r.Last = to
	return true
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	return sorted[len(sorted)/2]
}
