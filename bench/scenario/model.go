package scenario

import (
	"slices"
	"sync"
	"time"
)

// A write takes effect at some moment between when it was sent and when it was acknowledged. The model keeps both, and compares every
// answer with two states: what must have happened before the question was sent, and what may have happened before the answer came. An
// answer that lies between the two is correct; a write whose outcome is unknown (a timeout) may or may not be seen, for ever.
type write struct {
	sent  time.Time
	acked time.Time // zero while unknown
	// observed: an answer has shown the write. It is not certain yet: another of several databases may lack it.
	observed bool
}

// certainBy reports whether the write had taken effect at t at the latest.
func (w write) certainBy(t time.Time) bool { return !w.acked.IsZero() && !w.acked.After(t) }

// ack notes that the write was acknowledged at t.
func (w *write) ack(t time.Time) {
	if w.acked.IsZero() || w.acked.After(t) {
		w.acked = t
	}
}

// possibleBy reports whether the write may have taken effect by t.
func (w write) possibleBy(t time.Time) bool { return !w.sent.IsZero() && !w.sent.After(t) }

type base struct {
	best, latest int64
	count        int32
}

// team is what the generator knows of one team. Its contestant's user writes most of it, workers and admins the rest.
type team struct {
	id   int64
	name string
	base base

	mu   sync.Mutex
	tags []string
	// tagsUnknown is set while, or after, the outcome of a change of tags is open.
	tagsUnknown bool
	jobs        []*job
	questions   []*question
}

// job is one benchmark run that a virtual user asked for; its memo is unique in the round.
type job struct {
	id           int64 // 0 until an answer has told it
	team         *team
	target, memo string
	enqueued     write
	received     write
	progress     []*progress
	result       *result
}

type progress struct {
	score int64
	write
}

// result is the end of a job, as its worker reported it.
type result struct {
	score  int64
	passed bool
	reason string
	write
}

// question is a clarification that a virtual user asked for; its text is unique in the round.
type question struct {
	id       int64 // 0 until an answer has told it
	team     *team
	text     string
	asked    write
	answer   string
	disclose bool
	answered write
}

func find[T any](list []*T, is func(*T) bool) *T {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i]
	}
	return nil
}

// The caller of these holds the team's lock.
func (t *team) jobByID(id int64) *job {
	return find(t.jobs, func(j *job) bool { return j.id == id })
}

func (t *team) jobByMemo(memo string) *job {
	return find(t.jobs, func(j *job) bool { return j.memo == memo })
}

func (t *team) questionByID(id int64) *question {
	return find(t.questions, func(q *question) bool { return q.id == id })
}

func (t *team) questionByText(text string) *question {
	return find(t.questions, func(q *question) bool { return q.text == text })
}

// bounds is what a team's standing may be when asked for at the time low and answered at the time high.
type bounds struct {
	bestLow, bestHigh   int64
	countLow, countHigh int32
	latest              []int64 // the correct values
}

// standing returns the bounds of the team's standing for a question asked at low and answered at high.
func (t *team) standing(low, high time.Time) bounds {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := bounds{
		bestLow: t.base.best, bestHigh: t.base.best,
		countLow: t.base.count, countHigh: t.base.count,
		latest: []int64{t.base.latest},
	}
	for _, j := range t.jobs {
		r := j.result
		if r == nil || !r.passed || !r.possibleBy(high) {
			continue
		}
		b.bestHigh = max(b.bestHigh, r.score)
		b.countHigh++
		if r.certainBy(low) {
			b.bestLow = max(b.bestLow, r.score)
			b.countLow++
			// A team runs one job at a time, so what came before a certain result is no longer the latest.
			b.latest = b.latest[:0]
		}
		b.latest = append(b.latest, r.score)
	}
	return b
}

// model is everything that the generator knows of the portal's data.
type model struct {
	mu     sync.RWMutex
	byID   map[int64]*team
	active []*team // those that the round may have changed
	idle   []*team // the others, in the leaderboard's order; never changed in place
	asked  map[int64]*question
	// begunAtUs is when the round initialized the app; set once, before anything is checked.
	begunAtUs int64
}

func newModel(teams []*team) *model {
	m := &model{byID: map[int64]*team{}, asked: map[int64]*question{}}
	for _, t := range teams {
		m.byID[t.id] = t
		if t.base.count > 0 {
			m.idle = append(m.idle, t)
		}
	}
	slices.SortFunc(m.idle, func(a, b *team) int { return compareRank(a.base.best, a.id, b.base.best, b.id) })
	return m
}

// compareRank orders standings as the leaderboard does: best score first, then the lower team id.
func compareRank(bestA, idA, bestB, idB int64) int {
	switch {
	case bestA > bestB, bestA == bestB && idA < idB:
		return -1
	case bestA == bestB && idA == idB:
		return 0
	}
	return 1
}

// activate makes the team one whose data may change; it must be called before the first write of it is sent.
func (m *model) activate(t *team) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byID[t.id] = t
	if slices.Contains(m.active, t) {
		return
	}
	m.active = append(m.active, t)
	if at := slices.Index(m.idle, t); at >= 0 {
		// Readers hold the old slice without the lock.
		m.idle = slices.Concat(m.idle[:at], m.idle[at+1:])
	}
}

// ofDataset reports whether something created at that time, in microseconds since the epoch, is part of the dataset.
func (m *model) ofDataset(createdAtUs int64) bool { return createdAtUs < m.begunAtUs }

func (m *model) team(id int64) *team {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.byID[id]
}

// teams returns the teams as they stand now: the active ones, and the idle ones in the leaderboard's order.
func (m *model) teams() (active, idle []*team) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Clone(m.active), m.idle
}

func (m *model) question(id int64) *question {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.asked[id]
}

// identifyQuestion gives a question the id that an answer told; the caller holds the team's lock.
func (m *model) identifyQuestion(q *question, id int64) {
	q.id = id
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked[id] = q
}
