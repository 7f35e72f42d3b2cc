package round

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/topology"
)

// linkFault is a fault of a host's link as a step of a round.
type linkFault struct {
	host string
	at   time.Duration // of the load
	long time.Duration
	machine.Fault
}

// parseLinkFault reads "s2 at=5s for=3s loss=5%"; cut and stall have no value.
func parseLinkFault(text string) (f linkFault, err error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return f, errors.New("a fault begins with a host")
	}
	f.host = words[0]
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case word == "cut":
			f.Loss = 1
		case word == "stall":
			f.Stall = true
		case key == "at":
			f.at, err = time.ParseDuration(value)
		case key == "for":
			f.long, err = time.ParseDuration(value)
		case slices.Contains(host.FlawKeys(), key):
			err = f.Set(key, value)
		default:
			err = fmt.Errorf("unknown %q (have at, for, cut, stall, %s)", word, strings.Join(host.FlawKeys(), ", "))
		}
		if err != nil {
			return f, err
		}
	}
	if f.at < 0 || f.long <= 0 {
		return f, errors.New("want for=TIME, longer than 0, and at=TIME of the load")
	}
	f.Until = time.Now().Add(time.Hour) // as a fault that has begun
	return f, f.Check()
}

// linkFaults reads --fault, for a topology and a driver.
func (o Options) linkFaults(top *topology.Topology) (list []linkFault, err error) {
	if len(o.Faults) > 0 && o.Driver != "lab" {
		return nil, ui.UsageError(errors.New("--fault needs --driver lab"), "only the lab can disturb the links of its hosts")
	}
	for _, text := range o.Faults {
		f, err := parseLinkFault(text)
		if _, ok := top.Host(f.host); err == nil && !ok {
			err = fmt.Errorf("topology %s has no host %q", top.Name, f.host)
		}
		if err != nil {
			return nil, ui.UsageError(fmt.Errorf("--fault %q: %w", text, err), `for example --fault "s1 at=5s for=3s loss=5%"`)
		}
		list = append(list, f)
	}
	return list, nil
}

// disturb makes the round's faults from now on, and returns what ends them with the load. Others' faults become warnings.
func (m *measurement) disturb(ctx context.Context, driver host.Driver, faults []linkFault) (done func()) {
	lab, ok := driver.(*machine.Driver)
	if !ok || lab.Name() != "lab" {
		return func() {}
	}
	began, own := time.Now(), map[string]bool{}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, f := range faults {
		own[f.host] = true
		all.Go(func() {
			select {
			case <-ctx.Done():
				m.warn("the fault of %s was not made: the load was shorter", f.host)
				return
			case <-time.After(f.at):
			}
			f.Until = time.Now().Add(f.long)
			if err := lab.Fault(context.WithoutCancel(ctx), f.host, &f.Fault); err != nil {
				m.warn("a fault of this round was not made: %v", err)
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
		for name := range m.named {
			f, err := lab.LastFault(name)
			switch {
			case own[name]:
				err = lab.Fault(context.WithoutCancel(ctx), name, nil)
			case f != nil && f.Until.After(began) || f != nil && f.Until.IsZero():
				m.warn("isukit lab fault disturbed the link of %s during the load: %v", name, f)
			}
			if err != nil {
				m.warn("%v", err)
			}
		}
	}
}

// faultFacts have the faults on record as they were asked for.
func (o Options) faultFacts() (facts []result.Fact) {
	for n, text := range o.Faults {
		facts = append(facts, result.Fact{Key: fmt.Sprintf("fault_%d", n+1), Value: text})
	}
	return facts
}
