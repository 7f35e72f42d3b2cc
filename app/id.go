package app

import (
	"sync"
	"time"
)

// MaxAppID is the largest app id of a running process. The id above it, 1023, is that of the dataset.
const MaxAppID = 1022

const (
	// idEpochMS is 2025-01-01 00:00 UTC in milliseconds, from which ids count.
	idEpochMS      = 1_735_689_600_000
	idAppBits      = 10
	idSequenceBits = 12
)

// IDs makes time-ordered ids of 63 bits: 41 bits of milliseconds since 2025-01-01, 10 bits of app id and 12 bits of
// sequence. It is safe for use by many goroutines.
type IDs struct {
	appID int64
	now   func() time.Time

	mu   sync.Mutex
	last int64 // milliseconds and sequence of the last id
}

// NewIDs makes a source of ids. No two processes with the same app id may make ids at the same time.
func NewIDs(appID int, now func() time.Time) *IDs {
	return &IDs{appID: int64(appID), now: now}
}

// Next gives an id that is larger than every one before it, also when the clock goes back or more than 4,096 ids are
// asked for in one millisecond; then it runs ahead of the clock.
func (g *IDs) Next() int64 {
	stamp := (g.now().UnixMilli() - idEpochMS) << idSequenceBits
	g.mu.Lock()
	g.last = max(g.last+1, stamp)
	stamp = g.last
	g.mu.Unlock()
	const sequence = 1<<idSequenceBits - 1
	return (stamp&^sequence)<<idAppBits | g.appID<<idSequenceBits | stamp&sequence
}

// IDTime gives the moment that is in an id, to the millisecond.
func IDTime(id int64) time.Time {
	return time.UnixMilli(id>>(idAppBits+idSequenceBits) + idEpochMS)
}
