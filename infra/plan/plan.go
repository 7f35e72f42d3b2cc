// Package plan compares what a host is to be with what isukit has made there and with what is there now, and says what to do
// about it. It is pure: values in, values out; nothing is read from or done to a host.
//
// A host keeps an Inventory of the items that were made, each written before the item is made. An item that is no longer
// declared is removed; one that somebody else changed since is told and left alone, unless force is asked for.
package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Kind is what an item is.
type Kind string

// The kinds of items.
const (
	File    Kind = "file"    // Name is its path
	Data    Kind = "data"    // the data of a database; Name is the instance
	Rules   Kind = "rules"   // a table of nftables; Name is the table
	Account Kind = "account" // of a database server; Name is user@host, Owner the instance
	Service Kind = "service" // Name is the instance
	Unit    Kind = "unit"    // of systemd, that somebody else installed
	Tuning  Kind = "tuning"  // Owner is the role, or what it is applied to
)

// Item is one thing on one host.
type Item struct {
	Kind  Kind   `json:"kind"`
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"` // the instance that it belongs to; "" is the host
	// Hash says what the item is made of: of a file its content, of a service everything that it reads when it starts.
	Hash string `json:"hash"`
	// Was is the hash before the apply that is under way; "" where the item was not there.
	Was string `json:"was,omitempty"`
	// Tuned is the hash of a file in which isukit's tunings have changed something since it was made; "" is none.
	Tuned string `json:"tuned,omitempty"`
	// Made is false while the item is being made: after a crash it may be as Was or as Hash says.
	Made bool `json:"made"`
	// Original is what was there before isukit came; nil is nothing.
	Original *Original `json:"original,omitempty"`
}

// Original is what an item goes back to when it is dropped.
type Original struct {
	Copy string `json:"copy"` // path of a copy of the file
	Mode uint32 `json:"mode"`
}

// Same tells whether two items are about the same thing.
func (i Item) Same(o Item) bool { return i.Kind == o.Kind && i.Name == o.Name && i.Owner == o.Owner }

// Hash is that of a content.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Actual is what is there now of an item.
type Actual struct {
	Item
	Text   []byte // of a file that holds no secret
	Exists bool
	// Running and Exit are of a service: whether it runs, and if not, how it ended.
	Running bool
	Exit    string
}

// Wanted is an item that is to be.
type Wanted struct {
	Item
	Text   []byte // of a file
	Secret bool   // Text must not be shown
	// Needs are names of files of the same owner whose change is the reason for a restart.
	Needs []string
}

// Op is what is to be done.
type Op string

// The operations.
const (
	Create  Op = "create"
	Change  Op = "change"
	Restart Op = "restart"
	Start   Op = "start" // it was made and does not run
	Stop    Op = "stop"
	Remove  Op = "remove"
	Apply   Op = "apply" // of a tuning
	Revert  Op = "revert"
)

// Step is one operation on one item of a host.
type Step struct {
	Op Op `json:"op"`
	Item
	Lines   []string `json:"lines,omitempty"`   // old -> new, of a file that is changed
	Reason  string   `json:"reason,omitempty"`  // of a restart or a start
	Foreign bool     `json:"foreign,omitempty"` // would overwrite what somebody else changed
	Tunings bool     `json:"tunings,omitempty"` // would overwrite what tunings changed
}

// Host is what there is to do on one host.
type Host struct {
	Name  string `json:"name"`
	New   bool   `json:"new,omitempty"`  // the host itself is made
	Gone  bool   `json:"gone,omitempty"` // the host itself is removed
	Steps []Step `json:"steps,omitempty"`
}

// Plan is what there is to do on all hosts.
type Plan struct {
	Topology string `json:"topology"` // its name
	Hosts    []Host `json:"hosts,omitempty"`
}

// Diff compares what is wanted on a host, in the order in which it is made, with its inventory and what is there now. Removals
// come last, in the reverse order of their making.
func Diff(want []Wanted, inventory []Item, actual []Actual) Host {
	var h Host
	changed := map[string][]string{} // by owner, names of files
	for _, w := range want {
		old, known := find(inventory, w.Item)
		now := actualOf(actual, w.Item)
		step, do := compare(w, old, known, now)
		switch {
		case do && w.Kind == Service:
			step.Reason = reasonOf(w, step.Op, now, changed[w.Owner])
		case do:
			changed[w.Owner] = append(changed[w.Owner], base(w.Name))
		}
		if do {
			h.Steps = append(h.Steps, step)
		}
	}
	for _, old := range slices.Backward(inventory) {
		if slices.ContainsFunc(want, func(w Wanted) bool { return w.Same(old) }) {
			continue
		}
		now := actualOf(actual, old)
		step := Step{Op: Remove, Item: old, Tunings: tuned(old, now)}
		step.Foreign = old.Kind == File && now.Exists && foreign(old, now) && !step.Tunings
		h.Steps = append(h.Steps, step)
	}
	return h
}

func find(items []Item, i Item) (Item, bool) {
	for _, o := range items {
		if o.Same(i) {
			return o, true
		}
	}
	return Item{}, false
}

func actualOf(list []Actual, i Item) Actual {
	for _, a := range list {
		if a.Same(i) {
			return a
		}
	}
	return Actual{}
}

// foreign: what is there is neither what was made nor, when the making was cut off, what was there before it.
func foreign(old Item, now Actual) bool {
	return now.Hash != old.Hash && (old.Made || now.Hash != old.Was)
}

// tuned: what is there is what was made, with what tunings have made of it.
func tuned(old Item, now Actual) bool { return now.Exists && old.Tuned != "" && now.Hash == old.Tuned }

func compare(w Wanted, old Item, known bool, now Actual) (Step, bool) {
	step := Step{Item: w.Item}
	step.Original, step.Was = old.Original, now.Hash
	switch {
	case !now.Exists:
		step.Op = Create
	case w.Kind == Service && now.Hash != w.Hash:
		step.Op = Restart
	case w.Kind == Service && !now.Running:
		step.Op = Start
	case tuned(old, now) && w.Hash == old.Hash:
		return step, false
	case now.Hash != w.Hash:
		step.Op, step.Tunings = Change, tuned(old, now)
		step.Foreign = known && w.Kind == File && foreign(old, now) && !step.Tunings
		if !w.Secret && w.Kind == File {
			step.Lines = Lines(string(now.Text), string(w.Text))
		}
	default:
		return step, false
	}
	return step, true
}

func reasonOf(w Wanted, op Op, now Actual, changed []string) string {
	switch op {
	case Start:
		return "it has ended (" + now.Exit + ")"
	case Restart:
		var of []string
		for _, name := range changed {
			if slices.Contains(w.Needs, name) && !slices.Contains(of, name) {
				of = append(of, name)
			}
		}
		if len(of) == 0 {
			return "its program or its options changed"
		}
		return join(of)
	}
	return ""
}
