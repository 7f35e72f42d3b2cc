// Package plan compares what a host should have with what isukit has made there and with its current state, and lists what to do. It is
// pure: it neither reads from hosts nor changes them.
//
// A host keeps an Inventory of the items that were made, each written before the item is made. An undeclared item is removed; one that was
// changed outside isukit is reported and left alone, unless force is set.
package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
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
	Unit    Kind = "unit"    // of systemd, not installed by isukit
	Tuning  Kind = "tuning"  // Owner is the role, or what it is applied to
)

// Item is one thing on one host.
type Item struct {
	Kind  Kind   `json:"kind"`
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"` // the instance that it belongs to; "" is the host
	// Hash identifies the item's content: a file's text, or everything that a service reads when it starts.
	Hash string `json:"hash"`
	// Was is the hash before the apply that is under way; "" where the item was not there.
	Was string `json:"was,omitempty"`
	// Tuned is the hash of a file in which isukit's tunings have changed something since it was made; "" is none.
	Tuned string `json:"tuned,omitempty"`
	// Made is false while the item is being made: after a crash it may be as Was or as Hash says.
	Made bool `json:"made"`
}

// Same tells whether two items are about the same thing.
func (i Item) Same(o Item) bool { return i.Kind == o.Kind && i.Name == o.Name && i.Owner == o.Owner }

// Hash is that of a content.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Actual is the current state of an item.
type Actual struct {
	Item
	Text   []byte // of a file without a secret
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
	Foreign bool     `json:"foreign,omitempty"` // would overwrite a change made outside isukit
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

// Diff compares a host's wanted items, in order, with its inventory and its current state. Removals come last, in reverse order.
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

// foreign: the current state is neither what was made nor, after an interruption, the original.
func foreign(old Item, now Actual) bool {
	return now.Hash != old.Hash && (old.Made || now.Hash != old.Was)
}

// tuned: the current state is what was made, changed by tunings.
func tuned(old Item, now Actual) bool { return now.Exists && old.Tuned != "" && now.Hash == old.Tuned }

func compare(w Wanted, old Item, known bool, now Actual) (Step, bool) {
	step := Step{Item: w.Item}
	step.Was = now.Hash
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

const mostLines = 20

// Lines lists how a text differs from an older one, one difference per line: "old -> new", "- old" or "+ new".
func Lines(before, after string) []string {
	a, b := linesOf(before), linesOf(after)
	var out []string
	for _, h := range Hunks(a, b) {
		gone, come := a[h.A0:h.A1], b[h.B0:h.B1]
		for i := range max(len(gone), len(come)) {
			switch {
			case i < len(gone) && i < len(come):
				out = append(out, strings.TrimSpace(gone[i])+" -> "+strings.TrimSpace(come[i]))
			case i < len(gone):
				out = append(out, "- "+strings.TrimSpace(gone[i]))
			default:
				out = append(out, "+ "+strings.TrimSpace(come[i]))
			}
		}
	}
	if len(out) > mostLines {
		out = append(out[:mostLines], fmt.Sprintf("... and %d more", len(out)-mostLines))
	}
	return out
}

// Hunk are lines A0 to A1 of a text that another one replaces by lines B0 to B1.
type Hunk struct{ A0, A1, B0, B1 int }

// mostCompared is how many lines are compared with one another: it takes the square of it.
const mostCompared = 2000

// Hunks are where two texts differ, in their order. More lines than can be compared are one difference.
func Hunks(a, b []string) (list []Hunk) {
	i, j, m, n := 0, 0, len(a), len(b)
	for i < m && i < n && a[i] == b[i] {
		i, j = i+1, j+1
	}
	for m > i && n > j && a[m-1] == b[n-1] {
		m, n = m-1, n-1
	}
	if max(m-i, n-j) > mostCompared {
		return []Hunk{{i, m, j, n}}
	}
	top, left := i, j
	common := longestCommon(a[i:m], b[j:n])
	h := Hunk{i, i, j, j}
	for i < m || j < n {
		switch {
		case i < m && j < n && a[i] == b[j] && common[i-top][j-left] == common[i-top+1][j-left+1]+1:
			if h.A0 < h.A1 || h.B0 < h.B1 {
				list = append(list, h)
			}
			i, j = i+1, j+1
			h = Hunk{i, i, j, j}
		case j == n || i < m && common[i-top+1][j-left] >= common[i-top][j-left+1]:
			i++
			h.A1 = i
		default:
			j++
			h.B1 = j
		}
	}
	if h.A0 < h.A1 || h.B0 < h.B1 {
		list = append(list, h)
	}
	return list
}

// linesOf are the lines of a text; an empty one has none.
func linesOf(text string) []string {
	if text = strings.TrimRight(text, "\n"); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// longestCommon gives, for each pair of positions, how many lines the rests have in common.
func longestCommon(a, b []string) [][]int {
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	return table
}

// What names an item as people do: "nginx.conf of proxy-1".
func (i Item) What() string {
	name := i.Name
	if i.Kind == File {
		if i.Owner != "" {
			name = base(i.Name)
		}
	} else {
		name = string(i.Kind) + " " + name
	}
	if i.Owner != "" && i.Owner != i.Name {
		name += " of " + i.Owner
	}
	return name
}

// Faults is the plan of an apply of what is up, as what is not as it was applied, a line each; lines of files are indented below theirs.
func (p *Plan) Faults() (list []string) {
	for _, h := range p.Hosts {
		for _, s := range h.Steps {
			text := fmt.Sprintf("%s: %s would be needed for %s", h.Name, s.Op, s.What())
			switch {
			case s.Foreign:
				text = fmt.Sprintf("%s: %s was changed outside isukit", h.Name, s.What())
			case s.Reason != "":
				text += " (" + s.Reason + ")"
			}
			list = append(list, text)
			for _, line := range s.Lines {
				list = append(list, "    "+line)
			}
		}
	}
	return list
}

// Empty tells that there is nothing to do.
func (p *Plan) Empty() bool {
	return !slices.ContainsFunc(p.Hosts, func(h Host) bool { return h.New || h.Gone || len(h.Steps) > 0 })
}

// Text is the plan as people read it.
func (p *Plan) Text() string {
	var b strings.Builder
	for _, h := range p.Hosts {
		b.WriteString(h.Text())
	}
	if b.Len() == 0 {
		return "nothing to do\n"
	}
	return b.String()
}

// Text is the plan for a host as people read it; "" when there is nothing to do.
func (h Host) Text() string {
	var b strings.Builder
	for _, s := range h.Steps {
		fmt.Fprintf(&b, "  %-7s %s", s.Op, s.What())
		if s.Reason != "" {
			fmt.Fprintf(&b, " (%s)", s.Reason)
		}
		if s.Foreign {
			b.WriteString(" [changed outside isukit]")
		}
		if s.Tunings {
			b.WriteString(" [tunings are applied to it]")
		}
		b.WriteByte('\n')
		for _, line := range s.Lines {
			fmt.Fprintf(&b, "            %s\n", line)
		}
	}
	head := h.Name
	switch {
	case h.New:
		head = "create host " + h.Name
	case h.Gone:
		head = "remove host " + h.Name
	case b.Len() == 0:
		return ""
	}
	return head + "\n" + b.String()
}

func base(name string) string { return path.Base(name) }

func join(list []string) string { return strings.Join(list, ", ") + " changed" }
