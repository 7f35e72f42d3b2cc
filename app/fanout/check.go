package fanout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rangeRows is how many rows are compared, and if they differ locked, at a time.
const rangeRows = 1000

// maxDifferences bounds the rows that a report names for each table; the others are counted.
const maxDifferences = 1000

// CheckOptions are what Check compares. The zero value compares every table on the replicas in service.
type CheckOptions struct {
	Tables   []string // empty: all
	Replicas []string // empty: those in service
}

// CheckReport is what Check found.
type CheckReport struct {
	Replicas []string     `json:"replicas"`
	Tables   []TableCheck `json:"tables"`
}

// TableCheck is what Check found in one table.
type TableCheck struct {
	Table       string       `json:"table"`
	Rows        int64        `json:"rows"`      // on the first replica
	Differing   int          `json:"differing"` // rows that are not the same everywhere
	Differences []Difference `json:"differences,omitempty"`
}

// Difference is one row that is not the same everywhere.
type Difference struct {
	Key  string            `json:"key"`  // "id=7"; for a table without a key, the digest of the row
	Rows map[string]string `json:"rows"` // by replica: a digest of the row, or "missing"
}

// Clean reports whether nothing differs.
func (r *CheckReport) Clean() bool { return r.Differing() == 0 }

// Differing is the number of rows that differ.
func (r *CheckReport) Differing() int {
	n := 0
	for _, t := range r.Tables {
		n += t.Differing
	}
	return n
}

// String names the rows that differ, or says that none do.
func (r *CheckReport) String() string {
	if r.Clean() {
		return fmt.Sprintf("%s are equal in %d tables", strings.Join(r.Replicas, ", "), len(r.Tables))
	}
	var b strings.Builder
	for _, t := range r.Tables {
		if t.Differing == 0 {
			continue
		}
		fmt.Fprintf(&b, "table %s: %d rows differ\n", t.Table, t.Differing)
		for _, d := range t.Differences {
			fmt.Fprintf(&b, "  %s:", d.Key)
			for _, name := range r.Replicas {
				fmt.Fprintf(&b, " %s %s", name, d.Rows[name])
			}
			b.WriteByte('\n')
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// check is Pool.Check.
func (p *group) check(ctx context.Context, opts CheckOptions) (*CheckReport, error) {
	members, err := p.choose(opts.Replicas)
	if err != nil {
		return nil, err
	}
	return p.checkMembers(ctx, members, opts.Tables)
}

func (p *group) checkMembers(ctx context.Context, members []*member, only []string) (*CheckReport, error) {
	report := &CheckReport{}
	for _, m := range members {
		report.Replicas = append(report.Replicas, m.name)
	}
	tables, err := readTables(ctx, members[0], only)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		tc := TableCheck{Table: t.name}
		err := t.ranges(ctx, members[0], rangeRows, func(r keyRange) error { return tc.compare(ctx, p, t, r, members) })
		if err != nil {
			return nil, err
		}
		report.Tables = append(report.Tables, tc)
	}
	return report, nil
}

// compare adds to tc what differs in r.
func (tc *TableCheck) compare(ctx context.Context, p *group, t *tableInfo, r keyRange, members []*member) error {
	same, rows, err := t.equal(ctx, members, r)
	tc.Rows += rows
	if err != nil || same {
		return err
	}
	return p.withLockedRange(ctx, t, r, members, func(l *lockedRange) error {
		keys := l.differing()
		tc.Differing += len(keys)
		for _, key := range keys[:min(len(keys), maxDifferences-len(tc.Differences))] {
			tc.Differences = append(tc.Differences, Difference{Key: key, Rows: l.versions(key)})
		}
		return nil
	})
}

// choose returns the named replicas in their order, or those in service.
func (p *group) choose(replicas []string) ([]*member, error) {
	if len(replicas) == 0 {
		if v := p.view.Load(); len(v.readers) > 0 {
			return v.readers, nil
		}
		return nil, ErrNoReplica
	}
	for _, name := range replicas {
		if p.member(name) == nil {
			return nil, fmt.Errorf("replica %q not found", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(p.members), func(m *member) bool { return !slices.Contains(replicas, m.name) }), nil
}

// RepairOptions are how Repair repairs.
type RepairOptions struct {
	Tables   []string // empty: all
	Replicas []string // empty: those in service
	// From names the replica whose rows are correct. Empty: the first replica in service, as it executes each write before the others. Rows
	// in which all others in service agree against it stay as they are, and all rows if no first one is known: there, a person has to name
	// the replica. A majority counts for nothing.
	From string
}

// Mended counts one replica's repaired rows: those that differed were deleted and inserted, missing ones inserted, surplus ones deleted.
type Mended struct {
	Table    string   `json:"table"`
	Replica  string   `json:"replica"`
	Deleted  int64    `json:"deleted"`
	Inserted int64    `json:"inserted"`
	Keys     []string `json:"keys"` // the first thousand repaired rows
}

// RepairReport is what Repair did.
type RepairReport struct {
	Mended []Mended     `json:"mended,omitempty"`
	Left   []Difference `json:"left,omitempty"` // rows that stay as they are, since it is unknown which is correct
	Why    string       `json:"why,omitempty"`  // why they were left
}

// String lists what was done, a line a table and replica.
func (r *RepairReport) String() string {
	var b strings.Builder
	for _, m := range r.Mended {
		fmt.Fprintf(&b, "%s on %s: %d rows deleted, %d inserted: %s\n", m.Table, m.Replica, m.Deleted, m.Inserted, strings.Join(m.Keys, " "))
	}
	for _, d := range r.Left {
		fmt.Fprintf(&b, "%s: left as it is: %v\n", d.Key, d.Rows)
	}
	if len(r.Left) > 0 {
		fmt.Fprintf(&b, "%s\n", r.Why)
	}
	if b.Len() == 0 {
		return "nothing to repair"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// repair is Pool.Repair.
func (p *group) repair(ctx context.Context, opts RepairOptions) (*RepairReport, error) {
	members, err := p.choose(opts.Replicas)
	if err != nil {
		return nil, err
	}
	who := p.truth(ctx, members)
	if opts.From != "" {
		i := slices.IndexFunc(members, func(m *member) bool { return m.name == opts.From })
		if i < 0 {
			return nil, fmt.Errorf("replica %q is not among those to repair (%s)", opts.From, memberNames(members))
		}
		who = truth{first: i}
	}
	if err := p.mayMend(ctx); err != nil {
		return nil, err
	}
	report := &RepairReport{}
	mend := &mender{p: p, members: members, verb: "INSERT", right: who.right}
	err = mend.tables(ctx, opts.Tables)
	report.Mended, report.Left = mend.report(), mend.left
	if len(report.Left) > 0 {
		report.Why = who.left(members)
	}
	return report, err
}

// left says why rows were left as they are.
func (t truth) left(members []*member) string {
	if t.first < 0 {
		return "the replica with the correct rows is unknown: " + t.why
	}
	var others []*member
	for _, i := range t.voting {
		others = append(others, members[i])
	}
	return fmt.Sprintf("%s executes each write first, but %s has something else: either that was computed wrongly, or %s was changed around the fan-out",
		members[t.first].name, strings.ReplaceAll(memberNames(others), ", ", " and "), members[t.first].name)
}

func memberNames(members []*member) string {
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = m.name
	}
	return strings.Join(list, ", ")
}

// mender makes replicas equal, range by range.
type mender struct {
	p       *group
	members []*member
	verb    string                               // INSERT or REPLACE, with which rows are repaired
	right   func(l *lockedRange, key string) int // index of a replica whose row is correct, or -1
	done    map[string]*Mended                   // by table and replica
	left    []Difference
	rows    int64 // repaired rows
}

func (d *mender) tables(ctx context.Context, only []string) error {
	tables, err := readTables(ctx, d.members[0], only)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range tables {
		err := t.ranges(ctx, d.members[0], rangeRows, func(r keyRange) error { return d.mendRange(ctx, t, r) })
		if errors.Is(err, errNoKey) || errors.Is(err, errTriggers) {
			errs = append(errs, fmt.Errorf("table %s: %w", t.name, err))
		} else if err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

var errTriggers = errors.New("its triggers would fire while rows are copied; drop them on the replica before the repair, and create them again")

func (d *mender) mendRange(ctx context.Context, t *tableInfo, r keyRange) error {
	same, _, err := t.equal(ctx, d.members, r)
	if err != nil || same {
		return err
	}
	return d.p.withLockedRange(ctx, t, r, d.members, func(l *lockedRange) error {
		keys := l.differing()
		switch {
		case len(keys) == 0:
			return nil
		case len(t.key) == 0:
			return errNoKey
		case t.triggers:
			return errTriggers
		}
		return d.mendLocked(ctx, l, keys)
	})
}

// mendLocked copies each differing row from a replica with the correct one to the others.
func (d *mender) mendLocked(ctx context.Context, l *lockedRange, keys []string) error {
	type way struct{ from, to int }
	jobs := map[way][]string{}
	for _, key := range keys {
		from := d.right(l, key)
		if from < 0 {
			d.left = append(d.left, Difference{Key: l.t.name + " " + key, Rows: l.versions(key)})
			continue
		}
		right, in := l.rows[from][key]
		for to := range l.members {
			if have, ok := l.rows[to][key]; ok != in || have != right {
				jobs[way{from, to}] = append(jobs[way{from, to}], key)
			}
		}
	}
	for w, keys := range jobs {
		m, err := l.mend(ctx, d.verb, w.from, w.to, keys)
		if err != nil {
			return err
		}
		m.Table, m.Replica, m.Keys = l.t.name, l.members[w.to].name, keys
		d.add(m)
	}
	for i := range l.members {
		if err := l.commit(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (d *mender) add(m Mended) {
	if d.done == nil {
		d.done = map[string]*Mended{}
	}
	d.rows += m.Deleted + m.Inserted
	id := m.Table + "\x00" + m.Replica
	sum := d.done[id]
	if sum == nil {
		sum = &Mended{Table: m.Table, Replica: m.Replica}
		d.done[id] = sum
	}
	sum.Deleted += m.Deleted
	sum.Inserted += m.Inserted
	sum.Keys = append(sum.Keys, m.Keys[:min(len(m.Keys), maxDifferences-len(sum.Keys))]...)
}

func (d *mender) report() []Mended {
	var list []Mended
	for _, id := range slices.Sorted(maps.Keys(d.done)) {
		list = append(list, *d.done[id])
	}
	return list
}
