package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"isukit/bench/compare"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

// Plan is how many rounds are run.
type Plan struct {
	Pairs     int // at most
	UntilSure bool
	Warmup    int           // rounds of each side that are dropped
	Budget    time.Duration // 0 for none
	Repeats   int           // of one noisy round, at most
}

// Validate returns every fault of the plan.
func (p Plan) Validate() error {
	var faults []error
	if p.Pairs < 0 || p.Pairs > compare.MaxPairs {
		faults = append(faults, fmt.Errorf("--rounds %d must be from 1 to %d", p.Pairs, compare.MaxPairs))
	}
	if p.Warmup < 0 || p.Warmup > maxWarmup {
		faults = append(faults, fmt.Errorf("--warmup %d must be from 0 to %d", p.Warmup, maxWarmup))
	}
	if p.Repeats < 0 || p.Repeats > maxRepeats {
		faults = append(faults, fmt.Errorf("--repeats %d must be from 0 to %d", p.Repeats, maxRepeats))
	}
	if p.Budget < 0 {
		faults = append(faults, fmt.Errorf("--budget %v is negative", p.Budget))
	}
	return errors.Join(faults...)
}

// WithDefaults fills in what depends on other options.
func (p Plan) WithDefaults() Plan {
	switch {
	case p.UntilSure && p.Pairs == 0:
		p.Pairs = compare.MaxPairs
	case p.Pairs == 0:
		p.Pairs = defaultPairs
	}
	if p.UntilSure && p.Budget == 0 {
		p.Budget = defaultBudget
	}
	return p
}

const (
	maxWarmup     = 10
	maxRepeats    = 10
	defaultPairs  = 10
	defaultBudget = 30 * time.Minute
)

// Factor is what a screen switches on and off as one: a tuning, a group, or several that set the same.
type Factor struct {
	// Names are the tunings as isukit round --tune takes them.
	Names []string `json:"names"`
	// Members are the names of all tunings in the group, as in the fact "tunings" of a round.
	Members []string `json:"members"`
}

func (f Factor) String() string { return strings.Join(f.Names, "+") }

// Factors are those of the named tunings, some as one. Different values for one key are refused: a round cannot have both.
func Factors(names, accepted []string) (list []Factor, said []string, err error) {
	if _, err := round.FindTunings(names, accepted); err != nil {
		return nil, nil, err
	}
	type setting struct{ factor, value string }
	set := map[string]setting{}
	for _, name := range names {
		if slices.ContainsFunc(list, func(f Factor) bool { return slices.Contains(f.Names, name) }) {
			return nil, nil, ui.UsageError(fmt.Errorf("tuning %s is named twice", name), "")
		}
		tunings, err := round.FindTunings([]string{name}, accepted)
		if err != nil {
			return nil, nil, err
		}
		f := Factor{Names: []string{name}}
		for _, t := range tunings {
			f.Members = append(f.Members, t.Name)
			for _, s := range t.Settings {
				key := string(t.Kind) + " " + s.Key
				other, ok := set[key]
				switch at := slices.IndexFunc(list, func(o Factor) bool { return slices.Contains(o.Names, other.factor) }); {
				case !ok:
					set[key] = setting{name, s.Value}
				case other.value != s.Value:
					return nil, nil, ui.UsageError(fmt.Errorf("%s and %s give %s different values, %q and %q", other.factor, name, s.Key, other.value, s.Value),
						"remove one of them: a round cannot have both")
				case at >= 0:
					f.Names, f.Members = append(list[at].Names, f.Names...), append(list[at].Members, f.Members...)
					list = slices.Delete(list, at, at+1)
					said = append(said, fmt.Sprintf("%s count as one tuning: they set %s to the same value", strings.Join(f.Names, " and "), s.Key))
				}
			}
		}
		list = append(list, f)
	}
	return list, said, nil
}
