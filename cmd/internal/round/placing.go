package round

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"isukit/cmd/internal/ui"
	"isukit/infra/plan"
	"isukit/infra/project"
	"isukit/infra/site"
	"isukit/infra/subject"
	"isukit/infra/tune"
)

// Place applies a topology of the project; "" takes the deployed one down. Tunings follow the role of the service that they are applied to;
// those in the roles of the file are applied where the role runs. Before a topology goes down, all are reverted. The plan passed to
// opts.Planned, which must be set, shows files with their tunings as they are now.
func (o *Opened) Place(ctx context.Context, placed *site.Site, to string, opts site.Options) (*site.Plan, error) {
	m, err := o.moving(ctx, placed, to, opts.Force)
	if err != nil {
		return nil, err
	}
	defer m.close()
	tell := opts.Planned
	opts.Planned = func(p *site.Plan) error {
		for i, h := range p.Hosts {
			p.Hosts[i].Steps = append(h.Steps, m.steps[h.Name]...)
		}
		return tell(p)
	}
	if m.plan != nil { // report it before tunings are reverted
		err := opts.Planned(m.plan)
		if opts.Planned = nil; err == nil {
			err = o.leave(ctx, placed, to, m)
		}
		if err != nil {
			return m.plan, err
		}
	}
	if to == "" {
		return placed.Down(ctx, opts)
	}
	opts.Tune = m.named
	p, err := placed.Apply(ctx, to, opts)
	want := m.want
	if err != nil {
		to, want = o.up, m.held // nothing has changed, and the tunings stay
	}
	if t, ok := o.declared.Placement(to); ok {
		err = errors.Join(err, o.arrive(context.WithoutCancel(ctx), placed, t, want, m.tunings))
	}
	return p, err
}

// moving is what becomes of tunings when a topology is applied.
type moving struct {
	// By role: tunings that are applied to its services, those that it names, and those that it is to have.
	held, named, want map[string][]string
	tunings           []tune.Tuning // that roles name
	// plan is the topology's without tunings, where some are applied; back are the ones that go before it.
	plan    *site.Plan
	all     *subject.Subject    // every host
	applied map[string][]string // by key of a target
	targets []*tune.Target
	back    map[*tune.Target][]string
	close   func() error
	steps   map[string][]plan.Step // by host
}

func (m *moving) step(host string, op plan.Op, name, owner string) {
	step := plan.Step{Op: op, Item: plan.Item{Kind: plan.Tuning, Name: name, Owner: owner}}
	if !slices.ContainsFunc(m.steps[host], func(o plan.Step) bool { return o.Op == op && o.Same(step.Item) }) {
		m.steps[host] = append(m.steps[host], step)
	}
}

// moving finds out what is applied, and what is to be.
func (o *Opened) moving(ctx context.Context, placed *site.Site, to string, force bool) (m *moving, err error) {
	m = &moving{all: &subject.Subject{}, held: map[string][]string{}, want: map[string][]string{}, back: map[*tune.Target][]string{}, steps: map[string][]plan.Step{}, close: func() error { return nil }}
	if m.named, m.tunings, err = o.roleTunings(); err != nil {
		return nil, err
	}
	t, _ := o.declared.Placement(to)
	there := map[string]bool{} // HOST ROLE NAME
	for name, at := range o.Reach.Named {
		m.all.Hosts = append(m.all.Hosts, subject.HostHere(name, at, o.stateDir, false, false))
	}
	if m.applied, err = m.all.Applied(ctx); err != nil {
		return nil, err
	}
	if len(m.applied) > 0 {
		if m.plan, err = placed.Plan(ctx, to, force); err != nil {
			m.plan, err = placed.PlanUntuned(ctx, to)
		}
		if err != nil { // stop before tunings are reverted for nothing
			return nil, err
		}
		sub, err := o.Subject(ctx, true)
		if err != nil {
			return nil, ui.Hinted(fmt.Errorf("tunings are applied, and not every service can be asked: %w", err), "start what does not answer, or isukit tune revert --all")
		}
		if m.targets, m.close, err = sub.TuneTargets(); err != nil {
			return nil, err
		}
		was, _ := o.declared.Placement(o.up)
		for _, target := range m.targets {
			m.target(o.declared.Roles, was, t, target, serviceOf(sub, target.Name), there)
		}
	}
	if to == "" {
		return m, nil
	}
	for _, role := range o.declared.Roles {
		held := slices.DeleteFunc(slices.Clone(m.held[role.Name]), func(name string) bool { return slices.Contains(m.plan.Tune()[role.Name], name) })
		m.want[role.Name] = united(slices.Clone(m.named[role.Name]), held)
		for _, host := range t.Hosts[role.Name] {
			for _, name := range m.want[role.Name] {
				if !there[host+" "+role.Name+" "+name] {
					m.step(host, plan.Apply, name, role.Name)
				}
			}
		}
	}
	return m, nil
}

// target finds out what becomes of what is applied to a target: all of it goes where its service goes, and what its roles named and name no
// more. Of proxies, whose files a placement writes, it goes for as long as that takes.
func (m *moving) target(roles []project.Role, was, t project.Placement, target *tune.Target, v *subject.Service, there map[string]bool) {
	host := target.Name
	if v != nil {
		host = v.Host
	}
	known, stays := false, false
	var before, again []string
	for _, role := range roles {
		if v != nil && !slices.Contains(role.Units, v.Unit) {
			continue
		}
		if v != nil {
			known, m.held[role.Name] = true, united(m.held[role.Name], m.applied[target.Key()])
		}
		if slices.Contains(was.Hosts[role.Name], host) {
			before = append(before, m.plan.Tune()[role.Name]...)
		}
		if slices.Contains(t.Hosts[role.Name], host) {
			stays, again = true, append(again, m.named[role.Name]...)
			for _, name := range m.applied[target.Key()] {
				there[host+" "+role.Name+" "+name] = true
			}
		}
	}
	for _, name := range m.applied[target.Key()] {
		goes := t.Name == "" || known && !stays || slices.Contains(before, name) && !slices.Contains(again, name)
		if goes {
			m.step(host, plan.Revert, name, target.Name)
		}
		if goes || known && (target.Kind == tune.Nginx || target.Kind == tune.Envoy) {
			m.back[target] = append(m.back[target], name)
		}
	}
}

func united(list, more []string) []string {
	for _, name := range more {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// roleTunings are those that roles name: by role, and all of them.
func (o *Opened) roleTunings() (named map[string][]string, all []tune.Tuning, err error) {
	named = map[string][]string{}
	for _, role := range o.declared.Roles {
		names := slices.Clone(role.Tune)
		for i, name := range names {
			if strings.Contains(name, ".") && !filepath.IsAbs(name) {
				names[i] = filepath.Join(o.Reach.Dir, name)
			}
		}
		list, err := FindTunings(names, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("role %s: tune: %w", role.Name, err)
		}
		all = append(all, list...)
		for _, one := range list {
			named[role.Name] = append(named[role.Name], one.Name)
		}
	}
	return named, all, nil
}

// leave reverts tunings of services that leave.
func (o *Opened) leave(ctx context.Context, placed *site.Site, to string, m *moving) error {
	which := tune.RevertOptions{On: m.back}
	if to == "" {
		which.On = nil
	}
	report, err := tune.RevertAll(ctx, m.targets, which)
	if text := TakenBack(report); text != "" && placed.Progress != nil {
		placed.Progress("tunings reverted: " + text)
	}
	if err == nil && report.Has(tune.Left) {
		err = errors.New("values that tunings had set were changed outside isukit since")
	}
	if err == nil && to == "" {
		left, leftErr := m.all.Tunings(ctx)
		if err = leftErr; len(left) > 0 {
			err = fmt.Errorf("tunings are still applied to what no role names: %s", strings.Join(left, ", "))
		}
	}
	if err != nil {
		err = ui.Hinted(err, "isukit tune verify shows the differences; isukit tune revert --all --force reverts them anyway")
	}
	return err
}

// arrive applies to the services of a topology, and to their hosts, what each role is to have.
func (o *Opened) arrive(ctx context.Context, placed *site.Site, t project.Placement, want map[string][]string, own []tune.Tuning) error {
	if !slices.ContainsFunc(o.declared.Roles, func(role project.Role) bool { return len(want[role.Name]) > 0 }) {
		return nil
	}
	o.Project = o.declared.Placed(t)
	sub, err := o.Subject(ctx, false)
	if err != nil {
		return fmt.Errorf("apply tunings: %w", err)
	}
	catalog, _, err := LoadTunings(nil)
	if err != nil {
		return err
	}
	targets, closeAll, err := sub.TuneTargets()
	if err != nil {
		return err
	}
	var errs []error
	var names, missing []string
	for _, role := range o.declared.Roles {
		var list []tune.Tuning
		for _, name := range want[role.Name] {
			known := slices.Concat(own, catalog.Tunings)
			if n := slices.IndexFunc(known, func(one tune.Tuning) bool { return one.Name == name }); n >= 0 {
				list, names = append(list, known[n]), united(names, []string{name})
			} else {
				missing = united(missing, []string{name})
			}
		}
		if len(list) == 0 || len(t.Hosts[role.Name]) == 0 {
			continue
		}
		report, err := tune.ApplyAll(ctx, time.Now(), slices.DeleteFunc(slices.Clone(targets), func(target *tune.Target) bool {
			v := serviceOf(sub, target.Name)
			return v == nil && !slices.Contains(t.Hosts[role.Name], target.Name) || v != nil && (!slices.Contains(role.Units, v.Unit) || !slices.Contains(t.Hosts[role.Name], v.Host))
		}), list)
		errs = append(errs, err)
		for _, out := range report {
			if out.Did == tune.Failed || out.Did == tune.Left || out.Did == tune.NeedsYou {
				errs = append(errs, fmt.Errorf("tuning %s: %s of %s: %s", out.Tuning, out.Key, ui.OrDash(out.Target), out.Reason))
			}
		}
	}
	if errs = append(errs, closeAll()); len(missing) > 0 {
		errs = append(errs, fmt.Errorf("%s came from files, and follow their services only where a role names them under tune", strings.Join(missing, ", ")))
	}
	if err := errors.Join(errs...); err != nil {
		return ui.Hinted(fmt.Errorf("topology %s is up, and not all tunings are: %w", t.Name, err), "isukit tune verify shows which settings are in effect")
	}
	if placed.Progress != nil {
		placed.Progress("tunings applied: " + strings.Join(names, ", "))
	}
	return nil
}

func serviceOf(sub *subject.Subject, name string) *subject.Service {
	if n := slices.IndexFunc(sub.Services, func(v subject.Service) bool { return v.Name == name }); n >= 0 {
		return &sub.Services[n]
	}
	return nil
}
