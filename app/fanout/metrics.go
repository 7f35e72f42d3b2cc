package fanout

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// phase counts how long one step of the write protocol takes on one replica.
type phase struct {
	count, failed, nanos, maxNanos atomic.Int64
	buckets                        [32]atomic.Int64 // bucket i counts durations below 2^i microseconds
}

func (ph *phase) observe(d time.Duration, err error) {
	ph.count.Add(1)
	if err != nil {
		ph.failed.Add(1)
	}
	ph.nanos.Add(int64(d))
	for {
		old := ph.maxNanos.Load()
		if int64(d) <= old || ph.maxNanos.CompareAndSwap(old, int64(d)) {
			break
		}
	}
	ph.buckets[min(bits.Len64(uint64(max(d.Microseconds(), 0))), 31)].Add(1)
}

// PhaseMetrics is what a Pool measured of one step on one replica since Open.
type PhaseMetrics struct {
	Count, Failed int64
	Total, Max    time.Duration
	P50, P99      time.Duration // upper bounds, within a factor of two
}

func (ph *phase) read() PhaseMetrics {
	m := PhaseMetrics{Count: ph.count.Load(), Failed: ph.failed.Load(), Total: time.Duration(ph.nanos.Load()), Max: time.Duration(ph.maxNanos.Load())}
	m.P50, m.P99 = ph.quantile(0.50), ph.quantile(0.99)
	return m
}

func (ph *phase) quantile(q float64) time.Duration {
	var total, seen int64
	for i := range ph.buckets {
		total += ph.buckets[i].Load()
	}
	for i := range ph.buckets {
		if seen += ph.buckets[i].Load(); total > 0 && float64(seen) >= q*float64(total) {
			return min(time.Microsecond<<i, time.Duration(ph.maxNanos.Load()))
		}
	}
	return 0
}

// memberMetrics are one replica's.
type memberMetrics struct{ first, others, prepare, commit phase }

// poolMetrics are the whole pool's.
type poolMetrics struct{ ejections, differences, conflicts atomic.Int64 }

// ReplicaMetrics are the measurements of one replica by step: First is a statement run there before the others, Others one
// run there after the first, Prepare the XA PREPARE of a transaction (ModeDurable), Commit the COMMIT.
type ReplicaMetrics struct {
	Replica                        string
	First, Others, Prepare, Commit PhaseMetrics
}

// Metrics is what a Pool counted since Open.
type Metrics struct {
	Replicas  []ReplicaMetrics // in replica order
	Skew      time.Duration    // mean COMMIT of the slowest replica less that of the fastest
	InDoubt   int              // branches that this process left prepared (ModeDurable), to be settled within seconds
	Oldest    time.Duration    // age of the oldest of them
	Ejections int64            // made by this process
	// Differences are the statements that were rolled back since replicas answered differently; where they do so again, one is ejected.
	Differences int64
	Conflicts   int64 // statements that met a lock on another replica than the first: deadlocks across servers
}

func (p *group) readMetrics() Metrics {
	out := Metrics{Ejections: p.metrics.ejections.Load(), Differences: p.metrics.differences.Load(), Conflicts: p.metrics.conflicts.Load()}
	var fastest, slowest time.Duration
	for _, m := range p.members {
		r := ReplicaMetrics{Replica: m.name, First: m.metrics.first.read(), Others: m.metrics.others.read(),
			Prepare: m.metrics.prepare.read(), Commit: m.metrics.commit.read()}
		out.Replicas = append(out.Replicas, r)
		if r.Commit.Count == 0 {
			continue
		}
		mean := r.Commit.Total / time.Duration(r.Commit.Count)
		if fastest == 0 || mean < fastest {
			fastest = mean
		}
		slowest = max(slowest, mean)
	}
	out.InDoubt, out.Oldest = p.branches.inDoubt()
	out.Skew = slowest - fastest
	return out
}
