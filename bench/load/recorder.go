package load

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

// RecorderOptions are the limits of a Recorder. The zero value of each field means the default that it names.
type RecorderOptions struct {
	// Start is the zero of the hits' times and of the timeline; default: now. Run sets it again.
	Start time.Time
	// Log, if set, is given every hit.
	Log *HitWriter
	// MaxErrorGroups limits the groups of errors; default 500. Further faults go to one group.
	MaxErrorGroups int
}

// batch is how many hits a shard holds before they are counted: enough to make the lock of the tables cheap.
const batch = 256

// Recorder counts hits: per endpoint and per second, by kind, with latencies from intended and from sent. It is safe for
// concurrent use. Hits wait in shards, so figures are complete only after a flush, which every reading method does.
type Recorder struct {
	opts   RecorderOptions
	shards []shard

	mu      sync.Mutex
	start   time.Time
	names   []string
	byName  map[string]Endpoint
	tallies []*tally // by Endpoint
	seconds []*second
	groups  map[groupKey]*ErrorGroup
	users   int
	logErr  error
	// flights are of clients whose hits under way are watched.
	flights []*flight
}

// shard takes the hits of some clients. It is padded so that two shards do not share a cache line.
type shard struct {
	mu   sync.Mutex
	hits []Hit
	_    [64]byte
}

type groupKey struct {
	kind     Kind
	endpoint Endpoint
	text     string
}

// ErrorGroup is one kind of error at one endpoint.
type ErrorGroup struct {
	Kind     Kind
	Endpoint string
	// Text is what the errors of the group have in common.
	Text  string
	Count int64
	// Example is the group's first error in full, with the user and the time.
	Example string
}

// NewRecorder returns an empty recorder.
func NewRecorder(opts RecorderOptions) *Recorder {
	setDefault(&opts.MaxErrorGroups, 500)
	if opts.Start.IsZero() {
		opts.Start = time.Now()
	}
	r := &Recorder{
		opts:   opts,
		shards: make([]shard, 4*runtime.GOMAXPROCS(0)),
		byName: map[string]Endpoint{},
	}
	r.Start(opts.Start)
	return r
}

// Start forgets all hits and makes t the zero of the hits' times; endpoints keep their handles.
func (r *Recorder) Start(t time.Time) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.hits = s.hits[:0]
		s.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start = t
	r.tallies = make([]*tally, len(r.names))
	r.seconds, r.flights = nil, nil
	r.groups = map[groupKey]*ErrorGroup{}
}

// StartedAt returns the zero of the hits' times.
func (r *Recorder) StartedAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.start
}

// Endpoint returns the handle of an endpoint's name; the same name gives the same handle.
func (r *Recorder) Endpoint(name string) Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.byName[name]
	if !ok {
		e = Endpoint(len(r.names))
		r.byName[name] = e
		r.names = append(r.names, name)
		r.tallies = append(r.tallies, nil)
	}
	return e
}

// SetUsers notes how many users are running, for the timeline.
func (r *Recorder) SetUsers(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users = n
	if s := r.second(time.Since(r.start)); n > s.users {
		s.users = n
	}
}

// record takes one hit with its absolute times; f is nil when the hit is OK.
func (r *Recorder) record(h Hit, intended, sent, done time.Time, f *Fault) {
	start := r.start // written by Start only, which happens before the users of the load begin
	h.Intended, h.Sent, h.Done = intended.Sub(start), sent.Sub(start), done.Sub(start)
	s := &r.shards[int(uint32(h.User))%len(r.shards)]
	s.mu.Lock()
	s.hits = append(s.hits, h)
	if len(s.hits) >= batch {
		r.drain(s)
	}
	s.mu.Unlock()
	if f != nil && f.Kind.IsError() {
		r.mu.Lock()
		r.addFault(h, f)
		r.mu.Unlock()
	}
}

// demote turns a recorded hit of h.Kind into a fault that was noticed too late. The hit log keeps the original.
func (r *Recorder) demote(h Hit, done time.Time, f *Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if done.Before(r.start) {
		return // it is one of those that Start forgot
	}
	h.Done = done.Sub(r.start)
	t := r.tally(h.Endpoint)
	t.kinds[h.Kind]--
	t.kinds[f.Kind]++
	s := r.second(h.Done)
	s.kinds[h.Kind]--
	s.kinds[f.Kind]++
	r.addFault(h, f)
}

// addFault counts a fault in its group; r.mu is held.
func (r *Recorder) addFault(h Hit, f *Fault) {
	key := groupKey{f.Kind, h.Endpoint, f.Text}
	g := r.groups[key]
	if g == nil {
		if len(r.groups) >= r.opts.MaxErrorGroups {
			key.text = "further errors, not told apart"
			g = r.groups[key]
		}
		if g == nil {
			g = &ErrorGroup{Kind: key.kind, Endpoint: r.names[h.Endpoint], Text: key.text}
			g.Example = fmt.Sprintf("user %d at %.3f s: %s", h.User, h.Done.Seconds(), f.Error())
			r.groups[key] = g
		}
	}
	g.Count++
}

func (r *Recorder) flush() {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		r.drain(s)
		s.mu.Unlock()
	}
}

// drain counts the hits of a shard; s.mu is held.
func (r *Recorder) drain(s *shard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range s.hits {
		h := &s.hits[i]
		r.tally(h.Endpoint).add(h)
		r.second(h.Done).add(h)
		r.addDue(h)
	}
	if r.opts.Log != nil && r.logErr == nil {
		r.logErr = r.opts.Log.write(s.hits, r.names)
	}
	s.hits = s.hits[:0]
}

// tally returns an endpoint's table, made on first use; r.mu is held.
func (r *Recorder) tally(e Endpoint) *tally {
	if r.tallies[e] == nil {
		r.tallies[e] = &tally{}
	}
	return r.tallies[e]
}

// maxSeconds limits the timeline. Later hits count for the last second.
const maxSeconds = 7200

// second returns the table of the second that at lies in, made on first use; r.mu is held.
func (r *Recorder) second(at time.Duration) *second {
	i := min(max(int(at/time.Second), 0), maxSeconds-1)
	for len(r.seconds) <= i {
		r.seconds = append(r.seconds, nil)
	}
	if r.seconds[i] == nil {
		r.seconds[i] = &second{users: r.users}
	}
	return r.seconds[i]
}
