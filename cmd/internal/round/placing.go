package round

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
		names := slices.Clone(role.Tune)
		for i, name := range names {
			if strings.Contains(name, ".") && !filepath.IsAbs(name) {
				names[i] = filepath.Join(o.Reach.Dir, name)
			}
		}
		if len(names) == 0 {
			continue
		}
		list, err := FindTunings(names, nil)
		if err != nil {
			return nil, fmt.Errorf("role %s: tune: %w", role.Name, err)
		}
		all[role.Name] = list
	}
	return all, nil
}

// Tunings names those that are applied to anything of the project's hosts.
func (o *Opened) Tunings(ctx context.Context) ([]string, error) {
	s := &subject.Subject{}
	for name, at := range o.Reach.Named {
		s.Hosts = append(s.Hosts, subject.HostHere(name, at, o.stateDir, false, false))
	}
	return s.Tunings(ctx)
}

// leave takes tunings back where their services do not stay as they are: of those that go, and of proxies, whose files a placement writes;
// before a topology goes down, of all. It returns the names of those that were applied.
func (o *Opened) leave(ctx context.Context, placed *site.Site, to string) (held []string, err error) {
	if held, err = o.Tunings(ctx); err != nil || len(held) == 0 {
		return nil, err
	}
	if _, err := placed.Plan(ctx, to, true); err != nil { // before anything is taken back for nothing
		return nil, err
	}
	t, _ := o.declared.Placement(to)
	sub, err := o.Subject(ctx, true)
	if err != nil {
		return nil, ui.Hinted(fmt.Errorf("tunings are applied (%s), and not every service can be asked: %w", strings.Join(held, ", "), err), "start what does not answer, or isukit tune revert --all")
	}
	goes := func(target *tune.Target) bool {
		if to == "" || target.Kind == tune.Nginx || target.Kind == tune.Envoy {
			return true
		}
		return slices.ContainsFunc(sub.Services, func(v subject.Service) bool {
			return v.Name == target.Name && !slices.ContainsFunc(o.declared.Roles, func(role project.Role) bool {
				return slices.Contains(role.Units, v.Unit) && slices.Contains(t.Hosts[role.Name], v.Host)
			})
		})
	}
	report, err := onTargets(sub, goes, func(targets []*tune.Target) (tune.Report, error) {
		return tune.RevertAll(ctx, targets, tune.RevertOptions{})
	})
	if text := TakenBack(report); text != "" && placed.Progress != nil {
		placed.Progress("tunings taken back: " + text)
	}
	if err == nil && report.Has(tune.Left) {
		err = errors.New("values that tunings had set were changed by someone else since")
	}
	if left, leftErr := o.Tunings(ctx); err == nil && to == "" && (leftErr != nil || len(left) > 0) {
		err = errors.Join(leftErr, fmt.Errorf("tunings are still applied to what no role names: %s", strings.Join(left, ", ")))
	}
	if err != nil {
		err = ui.Hinted(err, "isukit tune verify tells what differs; isukit tune revert --all --force takes it back all the same")
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
	all := slices.Concat(slices.Collect(maps.Values(roles))...)
	held = slices.DeleteFunc(held, func(name string) bool {
		return slices.ContainsFunc(all, func(one tune.Tuning) bool { return one.Name == name })
	})
	catalog, _, err := LoadTunings(nil)
	if err != nil {
		return err
	}
	var errs []error
	var follow []tune.Tuning
	for _, name := range held {
		one, ok := catalog.Find(name)
		if !ok {
			errs = append(errs, ui.Hinted(fmt.Errorf("tuning %s came from a file, and does not follow its service", name), "apply it again, or name its file under tune of the role"))
			continue
		}
		follow = append(follow, one)
	}
	apply := func(list []tune.Tuning, to func(*tune.Target) bool) {
		if len(list) == 0 {
			return
		}
		report, err := onTargets(sub, to, func(targets []*tune.Target) (tune.Report, error) {
			return tune.ApplyAll(ctx, time.Now(), targets, list)
		})
		errs = append(errs, err)
		for _, out := range report {
			if out.Did == tune.Failed || out.Did == tune.Left || out.Did == tune.NeedsYou {
				errs = append(errs, fmt.Errorf("tuning %s: %s of %s: %s", out.Tuning, out.Key, ui.OrDash(out.Target), out.Reason))
			}
		}
	}
	apply(follow, func(target *tune.Target) bool {
		return slices.ContainsFunc(sub.Services, func(v subject.Service) bool { return v.Name == target.Name })
	})
	for _, role := range o.declared.Roles {
		apply(roles[role.Name], func(target *tune.Target) bool {
			return slices.Contains(t.Hosts[role.Name], target.Name) || slices.ContainsFunc(sub.Services, func(v subject.Service) bool {
				return v.Name == target.Name && slices.Contains(role.Units, v.Unit) && slices.Contains(t.Hosts[role.Name], v.Host)
			})
		})
	}
	if err := errors.Join(errs...); err != nil {
		return ui.Hinted(fmt.Errorf("topology %s is up, and not all tunings are: %w", t.Name, err), "isukit tune verify tells what holds")
	}
	if placed.Progress != nil {
		names := held
		for _, one := range all {
			names = append(names, one.Name)
		}
		placed.Progress("tunings applied: " + strings.Join(names, ", "))
	}
	return nil
}

// onTargets does something with some targets of a subject.
func onTargets(sub *subject.Subject, some func(*tune.Target) bool, do func([]*tune.Target) (tune.Report, error)) (tune.Report, error) {
	targets, closeAll, err := sub.TuneTargets()
	if err != nil {
		return nil, err
	}
	report, err := do(slices.DeleteFunc(targets, func(t *tune.Target) bool { return !some(t) }))
	return report, errors.Join(err, closeAll())
}
