package digest

import (
	"math/bits"
	"slices"
	"time"
)

// MaxError is the relative error of Times.Quantile, a ratio: the result is the middle of a bucket that is this wide on either side of it.
const MaxError = 1.0 / (1 << (subBits + 1))

// subBits is how many bits after the leading one tell buckets apart: 256 buckets for every power of two.
const subBits = 8

// Times sums up durations: their number, sum, extremes and quantiles. The zero value is empty and ready. What it takes
// grows with the number of different values, about 12 bytes each, and never beyond 120 KB.
type Times struct {
	Count    int64
	Sum      time.Duration
	Min, Max time.Duration
	// buckets are those that hold anything, by index; most routes have few different times, at a log's resolution of 1 ms.
	buckets []bucket
}

type bucket struct {
	index int32
	count int64
}

// Add counts one duration; one below zero counts as zero.
func (t *Times) Add(d time.Duration) {
	d = max(d, 0)
	if t.Count == 0 || d < t.Min {
		t.Min = d
	}
	t.Max = max(t.Max, d)
	t.Count++
	t.Sum += d
	t.add(indexOf(d), 1)
}

// Merge adds what other has counted.
func (t *Times) Merge(other *Times) {
	if other.Count == 0 {
		return
	}
	if t.Count == 0 || other.Min < t.Min {
		t.Min = other.Min
	}
	t.Max = max(t.Max, other.Max)
	t.Count += other.Count
	t.Sum += other.Sum
	for _, b := range other.buckets {
		t.add(b.index, b.count)
	}
}

func (t *Times) add(index int32, count int64) {
	at, found := slices.BinarySearchFunc(t.buckets, index, func(b bucket, i int32) int { return int(b.index - i) })
	if found {
		t.buckets[at].count += count
		return
	}
	t.buckets = slices.Insert(t.buckets, at, bucket{index, count})
}

// Mean is the average; zero of nothing.
func (t *Times) Mean() time.Duration {
	if t.Count == 0 {
		return 0
	}
	return t.Sum / time.Duration(t.Count)
}

// Quantile is the smallest counted value that the share q of them does not exceed, off by at most MaxError; the highest is exact.
func (t *Times) Quantile(q float64) time.Duration {
	if t.Count == 0 {
		return 0
	}
	rank := int64(q*float64(t.Count) + 0.999999)
	rank = min(max(rank, 1), t.Count)
	var seen int64
	for _, b := range t.buckets {
		if seen += b.count; seen >= rank {
			return min(max(middleOf(b.index), t.Min), t.Max)
		}
	}
	return t.Max
}

// indexOf maps a duration, in whole microseconds, to its bucket: the first 2^subBits values have one each.
func indexOf(d time.Duration) int32 {
	us := uint64(d / time.Microsecond)
	shift := bits.Len64(us) - subBits - 1
	if shift <= 0 {
		return int32(us)
	}
	return int32(shift<<subBits) + int32(us>>shift)
}

func middleOf(index int32) time.Duration {
	shift := max(int(index>>subBits)-1, 0)
	if shift == 0 {
		return time.Duration(index) * time.Microsecond
	}
	low := uint64(index-int32(shift<<subBits)) << shift
	return time.Duration(low+uint64(1)<<(shift-1)) * time.Microsecond
}
