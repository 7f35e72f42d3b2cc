package fanout

import "sync/atomic"

// poolMetrics are what a group counts.
type poolMetrics struct{ ejections, differences, conflicts atomic.Int64 }

// Metrics is what a Pool counted since Open.
type Metrics struct {
	Ejections int64 // made by this process
	// Differences are the statements that were rolled back since replicas answered differently; where they do so again, one is ejected.
	Differences int64
	Conflicts   int64 // statements that met a lock on another replica than the first: deadlocks across servers
	InDoubt     int   // branches that this process left prepared (ModeDurable), to be settled within seconds
}
