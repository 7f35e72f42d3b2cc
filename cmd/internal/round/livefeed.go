package round

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// LiveFile is the name, in the results directory, of the state of a round in progress. It exists only while one runs.
const LiveFile = ".live.json"

type liveState struct {
	Project string    `json:"project"`
	Phase   string    `json:"phase"`
	Began   time.Time `json:"began"`
	PhaseAt time.Time `json:"phase_began"`
	Updated time.Time `json:"updated"`
	// BusyByHost is the share of each host's CPU that was busy in the last second.
	BusyByHost map[string]float64 `json:"busy_by_host"`
	// Lines are the last that the benchmark wrote, without secrets.
	Lines []string `json:"lines"`
}

// liveFeed publishes a round's progress. Its methods do nothing on nil, and any goroutine may call them. Write errors are ignored.
type liveFeed struct {
	path string

	mu    sync.Mutex
	state liveState
	wrote time.Time
}

func NewLiveFeed(results, project string) *liveFeed {
	now := time.Now().UTC()
	return &liveFeed{path: filepath.Join(results, LiveFile), state: liveState{Project: project, Began: now, PhaseAt: now, BusyByHost: map[string]float64{}, Lines: []string{}}}
}

func (l *liveFeed) Close() {
	if l != nil {
		_ = os.Remove(l.path)
	}
}

func (l *liveFeed) Phase(name string) {
	l.change(func(s *liveState) { s.Phase, s.PhaseAt = name, time.Now().UTC() }, true)
}

const liveLines = 12

func (l *liveFeed) line(text string) {
	l.change(func(s *liveState) {
		s.Lines = append(s.Lines, cutText(text, 300))
		s.Lines = s.Lines[max(0, len(s.Lines)-liveLines):]
	}, false)
}

func (l *liveFeed) busy(host string, ratio float64) {
	l.change(func(s *liveState) { s.BusyByHost[host] = ratio }, false)
}

// change writes the new state, at most twice a second unless now is set.
func (l *liveFeed) change(do func(*liveState), now bool) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	do(&l.state)
	if !now && time.Since(l.wrote) < 500*time.Millisecond {
		return
	}
	l.wrote = time.Now()
	l.state.Updated = l.wrote.UTC()
	if text, err := json.Marshal(l.state); err == nil {
		_ = renameio.WriteFile(l.path, text, 0o644)
	}
}

// linesPerSecond is how many lines of a benchmark are shown of each second. What it prints is kept whole with the round; a result that is
// printed as a document of many lines would bury everything else.
const linesPerSecond = 10

type lineLimit struct {
	now         func() time.Time
	begun       time.Time
	shown, left int
}

// take is asked for each line: whether to show it, and how many before it were not shown.
func (b *lineLimit) take() (show bool, missed int) {
	if now := b.now(); now.Sub(b.begun) >= time.Second {
		missed = b.rest()
		b.begun, b.shown = now, 0
	}
	if b.shown == linesPerSecond {
		b.left++
		return false, 0
	}
	b.shown++
	return true, missed
}

// rest is how many were not shown since it was last said.
func (b *lineLimit) rest() int {
	n := b.left
	b.left = 0
	return n
}
