package tune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"isukit/infra/host"
)

// Outcome is what became of one key on one layer of a target.
type Outcome struct {
	Target string `json:"target"`
	Tuning string `json:"tuning"`
	Key    string `json:"key"`
	Layer  Layer  `json:"layer,omitempty"`
	Did    Did    `json:"did"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	// Reason tells why it was not done, or what will undo it.
	Reason string `json:"reason,omitempty"`
}

// Did is what was done with a key.
type Did string

// What can be done.
const (
	Applied  Did = "applied"
	Kept     Did = "kept" // it had the value, or a higher one, before
	Refused  Did = "refused"
	Failed   Did = "failed" // it was written without effect, and has been reverted, unless the reason says otherwise
	Reverted Did = "reverted"
	Left     Did = "left" // another process has changed it
	Settled  Did = "settled"
	NeedsYou Did = "needs you" // a restart that cannot be done from here
	Drifted  Did = "drifted"
	Started  Did = "started" // again, what doctor had stopped
)

// Report is what became of everything, in the order in which it was done.
type Report []Outcome

// Has tells whether anything ended so.
func (r Report) Has(did ...Did) bool {
	return slices.ContainsFunc(r, func(o Outcome) bool { return slices.Contains(did, o.Did) })
}

type job struct {
	*outcome
	t       *Target
	doing   string
	back    *RevertOptions // of revertOn
	changes []change
	writing
	need  Restart
	first int // of its ops in the batch
	// reload is the number of the op that makes nginx reload, and reread that of the first op that reads the values afterwards; 0: none.
	reload, reread int
	// others read what may override a written file; the first of them has the number other in the batch.
	others []host.Op
	other  int
}

// fail adds what the job failed with, if anything.
func (j *job) fail(err error) bool {
	if err != nil {
		j.err = errors.Join(j.err, fmt.Errorf("%s %s: %w", j.doing, j.t.Name, err))
	}
	return err != nil
}

// applyOn applies tunings to targets of one host. It records all originals first, then writes files, restarts or reloads the server if a
// setting needs that, writes the running values, and reads each back. A setting that the server does not know, or that may not be written,
// is refused with the reason and not sent. A setting without effect is reverted. Everything is read before anything is written; what is
// written first, to all targets, goes in one batch.
func applyOn(ctx context.Context, now time.Time, targets []*Target, tunings map[*Target][]Tuning) []outcome {
	outcomes := make([]outcome, len(targets))
	var jobs []*job
	for n, t := range targets {
		jobs = append(jobs, &job{outcome: &outcomes[n], t: t, doing: "tune"})
		if jobs[n].fail(t.release(ctx)) {
			return outcomes
		}
	}
	err := lookAt(ctx, targets, func(t *Target) []string { return settingKeys(tunings[t]) })
	for _, j := range jobs {
		if err == nil {
			j.changes, j.report, err = j.t.planAll(ctx, now, tunings[j.t])
		}
		if j.fail(err) {
			break
		}
		var kept Report
		j.changes, kept = lastOnly(j.t.Name, j.changes)
		j.report = append(j.report, kept...)
		j.needs(func(c change) bool { return !c.from.Equal(c.to) })
	}
	if err == nil {
		together(ctx, jobs)
	}
	for _, t := range targets {
		t.host.act()
	}
	return outcomes
}

// needs works out the restart for those changes of files that count.
func (j *job) needs(counts func(change) bool) {
	j.need = Never
	for _, c := range j.changes {
		if !slices.Contains([]Kind{Sysctl, Link, Limits}, j.t.Kind) && // without a server
			c.record.Layer != RuntimeLayer && counts(c) && restartRank(c.record.Restart) > restartRank(j.need) {
			j.need = c.record.Restart
		}
	}
}

// together writes what jobs on one host write first in one batch, after their records, does the rest of each, and brings what they staged
// to disk. An apply ends with the first job that fails; of a revert it returns those that another one has kept from being done.
func together(ctx context.Context, jobs []*job) (again []*job) {
	if len(jobs) == 0 {
		return nil
	}
	h := jobs[0].t.host.Host
	var ops []host.Op
	reload := false
	for _, j := range jobs {
		j.begin(ctx)
		ops = append(ops, j.t.store.ops()...)
		if j.back == nil { // the record of a file already has what a revert writes
			ops = append(ops, j.t.host.foretold()...)
		}
		reload = reload || j.reload > 0
	}
	if turn := jobs[0].t.turn; reload && turn != nil {
		turn.Lock()
		defer turn.Unlock()
		for _, j := range jobs {
			j.t.turn = nil // it is theirs
		}
	}
	records := len(ops)
	for _, j := range jobs {
		j.first = len(ops)
		ops = append(ops, j.ops...)
	}
	answers, err := host.Do(ctx, h, ops...)
	for _, j := range jobs {
		j.t.host.act()
	}
	for _, a := range answers[:min(records, len(answers))] {
		err = errors.Join(err, a.Failed())
	}
	if jobs[0].fail(err) {
		return nil
	}
	for _, j := range jobs {
		mine := answers[j.first : j.first+len(j.ops)]
		switch {
		case j.back == nil:
			if err = j.end(ctx, mine); err == nil {
				err = j.effects(ctx, mine)
			}
		case len(mine) > 0 && errors.Is(mine[0].Err, host.ErrNotDone):
			again = append(again, j)
		default:
			j.fail(j.endBack(ctx, mine))
		}
		if j.fail(err) {
			break
		}
	}
	ops = nil
	for _, j := range jobs {
		ops = append(append(ops, j.t.store.ops()...), j.t.host.noted()...)
	}
	jobs[0].fail(doAll(ctx, h, ops))
	return again
}

// overridable is a server whose next start may read something else than the file that is written.
type overridable interface{ overrides() []host.Op }

// unseen tells whether nothing else sees that a change of a file has no effect: the running value is written as well, or nothing is restarted.
func (j *job) unseen(c change) bool {
	return c.record.Layer == FileLayer && len(c.record.Writes) > 0 && (c.record.Restart == Never || slices.ContainsFunc(j.changes, func(o change) bool {
		return o.record.Key == c.record.Key && o.record.Layer == RuntimeLayer
	}))
}

// effects reports as failed what the running server has, and its next start, or the next boot, will not have.
func (j *job) effects(ctx context.Context, answers []host.Answer) error {
	if len(j.others) == 0 {
		return nil
	}
	t := j.t
	t.host.look(nil)
	defer t.host.act()
	for n, op := range j.others {
		t.host.learned(op, answers[j.other+n])
	}
	for i := range j.report {
		o := &j.report[i]
		at := slices.IndexFunc(j.changes, func(c change) bool { return j.unseen(c) && c.record.Key == o.Key && c.record.Layer == o.Layer })
		if at < 0 || o.Did != Applied && (o.Did != Kept || o.Reason != "") {
			continue
		}
		problem, err := t.check(ctx, j.changes[at].record)
		if err != nil {
			return err
		}
		if problem != "" {
			o.Did, o.Reason = Failed, "written, but without effect: "+problem
		}
	}
	return nil
}

// reloader is a server that takes its files by one command; reloaded waits until it has, and says in a few words what was done.
type reloader interface {
	reloadOp(ctx context.Context) (host.Op, error)
	reloaded(ctx context.Context, out string) (string, error)
}

// begin works out what is to be written before a restart; without one that is everything.
func (j *job) begin(ctx context.Context) {
	j.assign(func(c change) bool { return j.need == Never || c.record.Layer != RuntimeLayer })
	j.plan(ctx)
	if o, ok := j.t.server.(overridable); ok && slices.ContainsFunc(j.changes, j.unseen) {
		j.other, j.others = len(j.ops), o.overrides()
		j.ops = append(j.ops, j.others...)
	}
	r, ok := j.t.server.(reloader)
	if !ok || j.need == Never || slices.ContainsFunc(j.parts, func(p part) bool { return p.err != nil }) {
		return
	}
	op, err := r.reloadOp(ctx)
	if f, ok := j.t.server.(forgetful); ok && err == nil {
		err = j.t.hold(ctx, f)
	}
	if err == nil {
		j.reload = len(j.ops)
		j.ops = append(j.ops, op)
		j.reread = len(j.ops)
		if a, ok := j.t.server.(asker); ok {
			j.ops = append(j.ops, a.foresee(ctx, nil)...)
		}
	}
}

// assign takes those changes that are to be written now.
func (j *job) assign(now func(change) bool) {
	j.writing = writing{}
	for _, c := range j.changes {
		if now(c) && !c.from.Equal(c.to) {
			j.slots, j.list = append(j.slots, c.slot), append(j.list, assignment{key: c.record.Key, to: c.to})
		}
	}
}

// end reads the results of what was begun, restarts the server if needed, and then writes the running values.
func (j *job) end(ctx context.Context, answers []host.Answer) error {
	t := j.t
	j.finish(ctx, answers)
	first := func(c change) bool { return j.need == Never || c.record.Layer != RuntimeLayer }
	if err := j.tell(ctx, first); err != nil || j.need == Never {
		return err
	}
	if !j.report.Has(Applied) {
		j.need = Never
	}
	outcome, err := j.settle(ctx, answers)
	if err != nil {
		j.report = append(j.report, t.takeBack(ctx, j.changes, err)...)
		return nil
	}
	j.report = append(j.report, outcome...)
	if !outcome.Has(NeedsYou) {
		t.host.look(nil)
		for n := j.reread; n > 0 && n < len(answers); n++ {
			t.host.learned(j.ops[n], answers[n])
		}
		outcome, err = t.readBack(ctx, j.changes, j.need)
		j.report = append(j.report, outcome...)
		if err != nil {
			return err
		}
	}
	running := func(c change) bool { return c.record.Layer == RuntimeLayer }
	if !slices.ContainsFunc(j.changes, running) {
		return nil
	}
	j.assign(running)
	if err := writeSlots(ctx, t.host, nil, j.slots, j.list); err != nil { // that they are being written is on record
		return err
	}
	return j.tell(ctx, running)
}

// settle makes what was written effective: it was done in the batch, or is done now.
func (j *job) settle(ctx context.Context, answers []host.Answer) (Report, error) {
	if j.reload == 0 || j.report.Has(Failed) {
		return j.t.restart(ctx, j.need)
	}
	t, a := j.t, answers[j.reload]
	if err := a.Failed(); err != nil {
		return nil, err
	}
	done, err := t.server.(reloader).reloaded(ctx, string(a.Stdout))
	if err != nil || done == "" {
		return nil, err
	}
	return Report{{Target: t.Name, Did: Settled, Reason: done}}, t.setAgain(ctx)
}

// readBack reads, after a restart, the settings that cannot be written to the running server. One without effect is reverted.
func (t *Target) readBack(ctx context.Context, changes []change, need Restart) (Report, error) {
	problems := make([]string, len(changes))
	defer t.host.act()
	for i, c := range changes {
		both := slices.ContainsFunc(changes, func(o change) bool { return o.record.Key == c.record.Key && o.slot.layer() == RuntimeLayer })
		if need == Never || need == Reboot || c.slot.layer() != FileLayer || both || len(c.record.Writes) == 0 {
			continue
		}
		var err error
		if problems[i], err = t.check(ctx, c.record); err != nil {
			return nil, err
		}
	}
	t.host.act()
	var report Report
	for i, problem := range problems {
		if problem != "" {
			report = append(report, t.takeBack(ctx, changes[i:i+1], errors.New(problem))...)
		}
	}
	return report, nil
}

// tell reports the results of those changes that were written, or had their value before, and reverts those without effect.
func (j *job) tell(ctx context.Context, meant func(change) bool) error {
	t, list := j.t, j.list
	var faults []error
	for _, c := range j.changes {
		if !meant(c) {
			continue
		}
		r := c.record
		o := Outcome{Target: t.Name, Tuning: r.last().Tuning, Key: r.Key, Layer: r.Layer, Did: Kept, From: c.from.String(), To: c.to.String()}
		if c.from.Equal(c.to) {
			r.Process = ""
		} else {
			a := list[0]
			list = list[1:]
			var unread *unreadError
			switch {
			case errors.As(a.err, &unread):
				o.Did, o.Reason = Failed, a.err.Error()
				faults = append(faults, a.err)
			case a.err != nil || !a.got.Equal(a.to):
				o.Did, o.Reason = Failed, fmt.Sprintf("the value is %s after it was written", a.got)
				if a.err != nil {
					o.Reason = a.err.Error()
				}
				faults = append(faults, t.undo(ctx, c))
			default:
				o.Did = Applied
				if f, ok := c.slot.(fading); ok {
					o.Reason = f.forgets()
				}
			}
		}
		if o.Did != Failed {
			r.Pending = false
			t.store.stage(r)
		}
		j.report = append(j.report, o)
	}
	return errors.Join(faults...)
}

// undo puts a layer back to what it was before a change, and its record with it.
func (t *Target) undo(ctx context.Context, c change) error {
	current, err := c.slot.read(ctx, c.record.Key)
	if err == nil && !current.Equal(c.from) {
		err = writeOne(ctx, t.host, c.slot, c.record.Key, c.from)
	}
	if err != nil {
		return err
	}
	r := c.record
	r.Writes, r.Pending = r.Writes[:len(r.Writes)-c.writes], false
	t.store.stage(r)
	return t.store.flush(ctx)
}

// settleFiles makes written files effective. A restart that nothing here can do is reported, not an error.
func (t *Target) settleFiles(ctx context.Context, need Restart) (Report, error) {
	if need == Never {
		return nil, nil
	}
	if t.turn != nil {
		t.turn.Lock()
		defer t.turn.Unlock()
	}
	done, err := t.settle(ctx, need)
	if errors.Is(err, errNoRestart) {
		return Report{{Target: t.Name, Did: NeedsYou, Reason: fmt.Sprintf("the files take effect after: %s", need)}}, nil
	}
	if err != nil {
		return nil, err
	}
	if done == "" {
		return nil, nil
	}
	return Report{{Target: t.Name, Did: Settled, Reason: done}}, nil
}

// takeBack undoes written files that the server does not start with, and starts it again without them.
func (t *Target) takeBack(ctx context.Context, changes []change, cause error) Report {
	var report Report
	ctx = context.WithoutCancel(ctx)
	need := Never
	for _, c := range slices.Backward(changes) {
		o := Outcome{Target: t.Name, Key: c.record.Key, Layer: c.record.Layer, Did: Failed, Reason: cause.Error()}
		if n := len(c.record.Writes); n > 0 {
			o.Tuning = c.record.Writes[n-1].Tuning
		} else {
			continue // it was reverted before
		}
		if restartRank(c.record.Restart) > restartRank(need) {
			need = c.record.Restart
		}
		if err := t.undo(ctx, c); err != nil {
			o.Reason += "; reverting it failed: " + err.Error()
		}
		report = append(report, o)
	}
	outcomes, err := t.settleFiles(ctx, need)
	if err == nil {
		err = t.release(ctx)
	}
	if err != nil {
		outcomes = Report{{Target: t.Name, Did: Failed, Reason: "after all changes were reverted: " + err.Error()}}
	}
	return append(report, outcomes...)
}
