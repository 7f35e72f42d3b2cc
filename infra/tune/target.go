package tune

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// Target is one kernel or server whose settings are written. It belongs to one caller at a time.
type Target struct {
	Name  string // in reports and in the names of records: "s1", "db-1"
	Kind  Kind
	Sizes Sizes
	host  *seen
	store *store
	turn  *sync.Mutex // held while the server is restarted; nil if nothing else restarts another at the same time
	server
}

// Place is where a target is, and where its records are kept.
type Place struct {
	Name     string
	Host     host.Host
	StateDir string // absolute directory on the host; records are below Name in it
	Sizes    Sizes
	// Note is called with the files of the host that were written, and their content before (nil: none). It returns ops that record that.
	Note func(files map[string]Written) []host.Op
}

// Written is the text of a file before and after it was written; nil where there was none.
type Written struct{ Before, After []byte }

// target makes a target; make is given its host, which it has to use for everything.
func (p Place) target(kind Kind, make func(*seen) server) *Target {
	h := &seen{Host: p.Host, note: p.Note}
	return &Target{Name: p.Name, Kind: kind, Sizes: p.Sizes, host: h, server: make(h),
		store: &store{host: p.Host, dir: path.Join(p.StateDir, p.Name+"."+string(kind))}}
}

// heldKeys are those of the records of a target that is open.
func (t *Target) heldKeys() (keys []string) {
	for _, r := range t.store.held {
		keys = append(keys, r.Key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// server is what the kinds of targets differ in.
type server interface {
	// product is the server's product and version.
	product(ctx context.Context) (engine.Product, error)
	// refuse tells why a setting cannot be written here, "" where it can.
	refuse(ctx context.Context, s Setting) (string, error)
	// expand turns a setting's key into the keys that it means here: "upstream *" into those of each upstream.
	expand(ctx context.Context, s Setting) ([]string, error)
	// value turns an evaluated value into the key's new one; current is the present one. A key that should stay is an exempt.
	value(ctx context.Context, s Setting, key keyed, text string) (string, error)
	// slots are the layers on which a setting is written, the running one last.
	slots(ctx context.Context, s Setting) ([]slot, error)
	// slot finds the layer of a record again.
	slot(r *Record) slot
	// settle makes written files effective and describes how in a few words. A restart that is impossible from here is errNoRestart.
	settle(ctx context.Context, need Restart) (string, error)
	// process names the server that runs now, another after a restart or reload; "" where there is none.
	process(ctx context.Context) (string, error)
	// check looks at a written value with other eyes than its slot: what is wrong, or "".
	check(ctx context.Context, r *Record) (string, error)
}

// slot is one layer of a target. It is a writer or a setter.
type slot interface {
	layer() Layer
	file() string // of the file layer
	read(ctx context.Context, key string) (engine.Value, error)
}

// writer is a slot of the host that writes several keys together.
type writer interface {
	// writes returns ops that write values to keys, and done, which reads the results from the answers. An error is about all of them.
	writes(ctx context.Context, list []assignment) (ops []host.Op, done func([]host.Answer) error, err error)
}

// setter is a slot of a server that is spoken to, one key after another.
type setter interface {
	write(ctx context.Context, key string, v engine.Value) error
}

// fading is a slot whose values nothing keeps beyond an event, which it tells; "" for one that keeps them.
type fading interface{ forgets() string }

// partial is a slot that has some of its target's keys only.
type partial interface{ has(key string) bool }

func having(slots []slot, key string) []slot {
	return slices.DeleteFunc(slices.Clone(slots), func(s slot) bool {
		p, ok := s.(partial)
		return ok && !p.has(key)
	})
}

// keyed is a key with what it has now, and what it had before any tuning.
type keyed struct {
	key               string
	current, original engine.Value
}

// exempt tells why a key keeps what it has.
type exempt string

func (e exempt) Error() string { return string(e) }

// errNoRestart says that the caller has to restart the server.
var errNoRestart = errors.New("nothing here can restart it")

// errSucceeded is engine.ErrGone where what was started in its place reads the value from a file.
var errSucceeded = fmt.Errorf("%w; what was started in its place has the value from a file", engine.ErrGone)

// plain has the answers of most kinds.
type plain struct{}

func (plain) expand(_ context.Context, s Setting) ([]string, error) { return []string{s.Key}, nil }

func (plain) value(_ context.Context, _ Setting, _ keyed, text string) (string, error) {
	return text, nil
}

func (plain) settle(context.Context, Restart) (string, error) { return "", nil }

func (plain) process(context.Context) (string, error) { return "", nil }

func (plain) check(context.Context, *Record) (string, error) { return "", nil }

var unameOp = host.Op{Run: &host.Command{Argv: []string{"uname", "-r"}}}

// linux is the product of what belongs to a host's kernel.
func linux(ctx context.Context, h host.Host) (engine.Product, error) {
	out, err := host.Output(ctx, h, unameOp.Run.Argv...)
	if err != nil {
		return engine.Product{}, err
	}
	v, err := engine.ParseVersion(out)
	if err != nil {
		return engine.Product{}, fmt.Errorf("the kernel's version: %w", err)
	}
	return engine.Product{Name: "linux", Version: v}, nil
}
