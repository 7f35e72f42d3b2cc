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
	"isukit/infra/project"
	"isukit/infra/site"
	"isukit/infra/subject"
	"isukit/infra/tune"
)

// Place applies a topology of the project; "" takes down the one that is up. Tunings follow the services that they are applied to, those
// that roles name are applied where the role runs, and before a topology goes down all are taken back.
func (o *Opened) Place(ctx context.Context, placed *site.Site, to string, opts site.Options) (*site.Plan, error) {
	roles, err := o.roleTunings()
	if err != nil {
		return nil, err
	}
	held, err := o.leave(ctx, placed, to)
	if err != nil {
		return nil, err
	}
	if to == "" {
		return placed.Down(ctx, opts)
	}
	p, err := placed.Apply(ctx, to, opts)
	if err != nil {
		to, roles = o.up, nil // everything is as it was, and so are tunings
	}
	if t, ok := o.declared.Placement(to); ok && len(held)+len(roles) > 0 {
		err = errors.Join(err, o.arrive(context.WithoutCancel(ctx), placed, t, held, roles))
	}
	return p, err
}

// roleTunings are those that roles name, by role.
func (o *Opened) roleTunings() (map[string][]tune.Tuning, error) {
	all := map[string][]tune.Tuning{}
	for _, role := range o.declared.Roles {
		if len(role.Tune) == 0 {
			continue
		}
		names := slices.Clone(role.Tune)
		for i, name := range names {
			if strings.Contains(name, ".") && !filepath.IsAbs(name) {
				names[i] = filepath.Join(o.Reach.Dir, name)
			}
		}
		list, err := FindTunings(names, nil)
		if err != nil {
			return nil, fmt.Errorf("role %s: tune: %w", role.Name, err)
		}
		all[role.Name] = list
	}
	return all, nil
}

// leave takes tunings back where their services do not stay as they are: of those that go, and of proxies, whose files a placement writes;
// before a topology goes down, of all. It returns the names of those that were applied.
func (o *Opened) leave(ctx context.Context, placed *site.Site, to string) (held []string, err error) {
	all := &subject.Subject{}
	for name, at := range o.Reach.Named {
		all.Hosts = append(all.Hosts, subject.HostHere(name, at, o.stateDir, false, false))
	}
	if held, err = all.Tunings(ctx); err != nil || len(held) == 0 {
		return nil, err
	}
	if _, err := placed.Plan(ctx, to, true); err != nil { // before anything is taken back for nothing
		return nil, err
	}
	sub, err := o.Subject(ctx, true)
	if err != nil {
		return nil, ui.Hinted(fmt.Errorf("tunings are applied (%s), and not every service can be asked: %w", strings.Join(held, ", "), err), "start what does not answer, or isukit tune revert --all")
	}
	t, _ := o.declared.Placement(to)
	var report tune.Report
	err = onTargets(sub, func(target *tune.Target) bool {
		return to == "" || target.Kind == tune.Nginx || target.Kind == tune.Envoy || serviceOf(sub, target.Name) != nil && o.roleOn(sub, t, target.Name) == ""
	}, func(targets []*tune.Target) (err error) {
		report, err = tune.RevertAll(ctx, targets, tune.RevertOptions{})
		return err
	})
	if text := TakenBack(report); text != "" && placed.Progress != nil {
		placed.Progress("tunings reverted: " + text)
	}
	if err == nil && report.Has(tune.Left) {
		err = errors.New("values that tunings had set were changed outside isukit since")
	}
	if err == nil && to == "" {
		left, leftErr := all.Tunings(ctx)
		if err = leftErr; len(left) > 0 {
			err = fmt.Errorf("tunings are still applied to what no role names: %s", strings.Join(left, ", "))
		}
	}
	if err != nil {
		err = ui.Hinted(err, "isukit tune verify shows the differences; isukit tune revert --all --force reverts them anyway")
	}
	return held, err
}

// arrive applies the tunings that were applied before, and those of roles, to the services of a topology.
func (o *Opened) arrive(ctx context.Context, placed *site.Site, t project.Placement, held []string, roles map[string][]tune.Tuning) error {
	o.Project = o.declared.Placed(t)
	sub, err := o.Subject(ctx, false)
	if err != nil {
		return fmt.Errorf("apply tunings: %w", err)
	}
	catalog, _, err := LoadTunings(nil)
	if err != nil {
		return err
	}
	var errs []error
	var names []string
	apply := func(list []tune.Tuning, some func(*tune.Target) bool) {
		if len(list) == 0 {
			return
		}
		var report tune.Report
		errs = append(errs, onTargets(sub, some, func(targets []*tune.Target) (err error) {
			report, err = tune.ApplyAll(ctx, time.Now(), targets, list)
			return err
		}))
		for _, out := range report {
			if out.Did == tune.Failed || out.Did == tune.Left || out.Did == tune.NeedsYou {
				errs = append(errs, fmt.Errorf("tuning %s: %s of %s: %s", out.Tuning, out.Key, ui.OrDash(out.Target), out.Reason))
			}
		}
		for _, one := range list {
			names = append(names, one.Name)
			held = slices.DeleteFunc(held, func(name string) bool { return name == one.Name })
		}
	}
	for _, role := range o.declared.Roles {
		apply(roles[role.Name], func(target *tune.Target) bool {
			return o.roleOn(sub, t, target.Name) == role.Name || slices.Contains(t.Hosts[role.Name], target.Name)
		})
	}
	apply(slices.DeleteFunc(catalog.Tunings, func(one tune.Tuning) bool { return !slices.Contains(held, one.Name) }),
		func(target *tune.Target) bool { return serviceOf(sub, target.Name) != nil })
	if len(held) > 0 {
		errs = append(errs, fmt.Errorf("%s came from files, and follow their services only where a role names them under tune", strings.Join(held, ", ")))
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

// roleOn is the role that a service has in a topology; "" for none.
func (o *Opened) roleOn(sub *subject.Subject, t project.Placement, name string) string {
	v := serviceOf(sub, name)
	n := slices.IndexFunc(o.declared.Roles, func(role project.Role) bool {
		return v != nil && slices.Contains(role.Units, v.Unit) && slices.Contains(t.Hosts[role.Name], v.Host)
	})
	if n < 0 {
		return ""
	}
	return o.declared.Roles[n].Name
}

// onTargets does something with some targets of a subject.
func onTargets(sub *subject.Subject, some func(*tune.Target) bool, do func([]*tune.Target) error) error {
	targets, closeAll, err := sub.TuneTargets()
	if err != nil {
		return err
	}
	return errors.Join(do(slices.DeleteFunc(targets, func(t *tune.Target) bool { return !some(t) })), closeAll())
}
