package infra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/tune"
)

// Reboot has the hosts of what is up boot again, one after another or all together, waits until what they are to run is healthy
// without help, and returns what is not as before: what was applied, the data of databases, tunings. It refuses what is not as it was
// applied even before.
func (s *Site) Reboot(ctx context.Context, together bool) (faults []string, err error) {
	before, hosts, err := s.beforeReboot(ctx)
	if err != nil {
		return nil, err
	}
	turns := [][]string{sortedKeys(hosts)}
	if !together {
		turns = nil
		for _, name := range sortedKeys(hosts) {
			turns = append(turns, []string{name})
		}
	}
	for _, names := range turns {
		s.spec.progress("rebooting %s", strings.Join(names, ", "))
		booting := &hostSet{hosts: map[string]host.Host{}}
		for _, name := range names {
			booting.hosts[name] = hosts[name]
		}
		if err := booting.onHosts(func(_ string, h host.Host) error { return h.(host.Rebooter).Reboot(ctx) }); err != nil {
			return nil, host.Hinted(fmt.Errorf("reboot: %w", err), "read the host's console; isukit topology status shows what runs")
		}
		s.spec.progress("waiting until all services have started at boot and are healthy")
		if err := s.awaitHealthy(ctx); err != nil {
			return nil, err
		}
	}
	if faults, err = s.Verify(ctx); err != nil {
		return faults, err
	}
	after, err := s.sums(ctx)
	for _, table := range sortedKeys(before) {
		if err == nil && after[table] != before[table] {
			faults = append(faults, fmt.Sprintf("the data of %s was %s before the reboot and is %s", table, before[table], cmp.Or(after[table], "gone")))
		}
	}
	if err != nil {
		return faults, err
	}
	r, err := s.Running(ctx)
	if err != nil {
		return faults, err
	}
	drifted, err := r.drifted(ctx)
	return append(faults, drifted...), err
}

// beforeReboot finds the sums of all tables, and the hosts, once everything matches the applied topology and nobody is at it.
func (s *Site) beforeReboot(ctx context.Context) (sums map[string]string, hosts map[string]host.Host, err error) {
	release, err := s.driver.Lock(ctx, "a reboot")
	if err == nil {
		err = release() // it would not survive the reboot
	}
	if err != nil {
		return nil, nil, err
	}
	faults, err := s.Verify(ctx)
	if err == nil && len(faults) > 0 {
		err = host.Hinted(fmt.Errorf("it is not as it was applied even before a reboot: %s", strings.Join(faults, "; ")), "apply the topology again, then reboot")
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := s.find(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer f.act()
	for name, h := range f.hosts {
		if _, ok := h.(host.Rebooter); !ok {
			return nil, nil, host.Hinted(fmt.Errorf("host %s of driver %s cannot be rebooted: %w", name, s.driver.Name(), host.ErrUnsupported), "--driver ssh has hosts that boot")
		}
	}
	sums, err = s.sums(ctx)
	return sums, f.hosts, err
}

// awaitHealthy waits until all that is up is healthy; hosts that do not answer yet are waited for as well.
func (s *Site) awaitHealthy(ctx context.Context) error {
	err := host.Until(ctx, 2*s.spec.healthLimit(), time.Second, func(ctx context.Context) error {
		st, err := s.Status(ctx)
		if err != nil {
			return err
		}
		var ill []string
		for _, h := range st.Hosts {
			for _, i := range h.Instances {
				if !i.Healthy {
					ill = append(ill, i.Name+" on "+h.Name+" "+i.Exit)
				}
			}
		}
		if len(ill) > 0 {
			return errors.New(strings.Join(ill, ", "))
		}
		return nil
	})
	if err != nil {
		return host.Hinted(fmt.Errorf("not healthy after the reboot: %w", err), "isukit topology status shows which; journalctl -u 'isukit-*' on the host shows why")
	}
	return nil
}

// sums are the checksums of all tables, by database and name.
func (s *Site) sums(ctx context.Context) (map[string]string, error) {
	r, err := s.Running(ctx)
	if err != nil {
		return nil, err
	}
	sums := map[string]string{}
	for _, db := range r.dbs {
		tables, err := db.Column(ctx, "SELECT CONCAT('`"+appDatabase+"`.`', REPLACE(table_name, '`', '``'), '`') FROM information_schema.tables WHERE table_schema = '"+appDatabase+"' AND table_type = 'BASE TABLE'")
		var rows [][]string
		if err == nil && len(tables) > 0 {
			rows, err = db.Rows(ctx, "CHECKSUM TABLE "+strings.Join(tables, ", "))
		}
		if err != nil {
			return nil, fmt.Errorf("sums of the tables of %s: %w", db.name, err)
		}
		for _, row := range rows {
			sums[db.name+"."+strings.TrimPrefix(row[0], appDatabase+".")] = row[1]
		}
	}
	return sums, nil
}

// drifted are the tunings of what is up that are not in force, each with why.
func (r *Running) drifted(ctx context.Context) ([]string, error) {
	targets, closeAll, err := r.Subject().TuneTargets()
	if err != nil {
		return nil, err
	}
	report, _, err := tune.VerifyAll(ctx, targets)
	err = errors.Join(err, closeAll())
	var list []string
	for _, o := range report {
		list = append(list, fmt.Sprintf("%s: tuning %s: %s: %s", o.Target, o.Tuning, o.Key, o.Reason))
	}
	return slices.Compact(list), err
}
