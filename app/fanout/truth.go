package fanout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Which rows are correct follows from the protocol: the first replica in service executes each write before the others, and a client got
// its answer because the write is there. A majority proves nothing: what several servers computed alone is wrong on all of them.

// orderRow is the row of the state table that keeps the order of the replicas; the column reason has their names.
const orderRow = "*order"

// truth is whose rows are correct.
type truth struct {
	first  int    // index among the members of the one that executed first; -1 where that is not known
	voting []int  // the other members in service
	why    string // why it is not known
}

// right is the index of the replica whose row with this key is correct. It is -1 if that is unknown, and also if all others in service
// agree against the first one: then either these computed something else, or the row was changed on the first one alone, outside the
// fan-out.
func (t truth) right(l *lockedRange, key string) int {
	if t.first < 0 {
		return -1
	}
	first, in := l.rows[t.first][key]
	for n, i := range t.voting {
		d, ok := l.rows[i][key]
		before, had := l.rows[t.voting[0]][key]
		if n > 0 && (ok != had || d != before) || ok == in && d == first {
			return t.first
		}
	}
	if len(t.voting) == 0 {
		return t.first
	}
	return -1
}

// truth asks the replicas for what their state tables say.
func (p *group) truth(ctx context.Context, members []*member) truth {
	if !p.keepsStates() {
		return truth{first: -1, why: fmt.Sprintf("in mode %s no replica executes first", p.cfg.Mode)}
	}
	lists, errs := statesOn(ctx, p.cfg.DialTimeout, p.members)
	best := newestOf(lists)
	names, err := p.knownOrder(lists)
	if err == nil {
		err = p.oneHistory(lists, best)
	}
	if err != nil {
		return truth{first: -1, why: err.Error()}
	}
	t := truth{first: -1}
	for _, name := range names {
		m := p.member(name)
		switch {
		case stateIn(best, name) != InService:
			continue
		case m == nil:
			return truth{first: -1, why: name + ", which is in service, is not among the replicas that were named"}
		case errs[m.index] != nil:
			return truth{first: -1, why: fmt.Sprintf("%s, which is in service, does not answer, and may know better: %v", name, errs[m.index])}
		}
		i := slices.Index(members, m)
		if i < 0 && t.first < 0 {
			return truth{first: -1, why: name + ", which executes first, is not among those to repair"}
		}
		if t.first < 0 {
			t.first = i
		} else if i >= 0 {
			t.voting = append(t.voting, i)
		}
	}
	if t.first < 0 {
		t.why = "no replica is in service"
	}
	return t
}

// newestOf is the list with the highest epoch, the earlier replica's where two have it.
func newestOf(lists [][]record) []record {
	var best []record
	for _, list := range lists {
		if best == nil || epochOf(list) > epochOf(best) {
			best = list
		}
	}
	return best
}

// stateIn is a replica's state in a list; one that it does not mention never left service.
func stateIn(list []record, name string) State {
	for _, r := range list {
		if strings.EqualFold(r.replica, name) {
			return r.state
		}
	}
	return InService
}

// knownOrder is the order that the app's processes keep, by what the replicas recorded.
func (p *group) knownOrder(lists [][]record) ([]string, error) {
	order := ""
	for _, list := range lists {
		for _, r := range list {
			if r.replica == orderRow {
				order = r.reason
			}
		}
	}
	if order == "" {
		return nil, errors.New("no app has opened these databases with package fanout, so none of them is known to execute first")
	}
	names := strings.Split(order, ",")
	at := -1
	for _, m := range p.members {
		i := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, m.name) })
		if i <= at {
			return nil, fmt.Errorf("the app's replicas are %s, in this order; these are %s", strings.Join(names, ", "), memberNames(p.members))
		}
		at = i
	}
	return names, nil
}

// oneHistory fails if two replicas each were in service while the other was out: processes of a cut network have written to both.
func (p *group) oneHistory(lists [][]record, best []record) error {
	for i, m := range p.members {
		if stateIn(best, m.name) == InService || lists[i] == nil || stateIn(lists[i], m.name) != InService {
			continue
		}
		for _, other := range p.members {
			if stateIn(best, other.name) == InService && stateIn(lists[i], other.name) == Ejected {
				return fmt.Errorf("%s and %s were each in service while the other was not, so either may have writes that the other lacks", other.name, m.name)
			}
		}
	}
	return nil
}

// keepOrder records the replicas' order on those in service.
func (p *group) keepOrder(ctx context.Context) error {
	return p.note(ctx, "REPLACE INTO "+stateTable+" (replica, state, epoch, reason, since_us) VALUES (?, 'order', 0, ?, 0)", orderRow, p.order())
}

func (p *group) order() string { return strings.ReplaceAll(memberNames(p.members), ", ", ",") }

// sameOrder fails when another process that is running keeps another order: it would execute first elsewhere.
func (p *group) sameOrder(ctx context.Context) error {
	for _, m := range p.view.Load().readers {
		list, err := stateOn(ctx, m)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(r record) bool { return r.replica == orderRow })
		if i < 0 || list[i].reason == p.order() {
			continue
		}
		apps, err := p.appsOn(ctx, m)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(apps, func(a app) bool { return !a.dead }) {
			return fmt.Errorf("%w: another process of the app writes to %s, this one to %s: all must name the same replicas in the same order", ErrSchema,
				strings.ReplaceAll(list[i].reason, ",", ", "), memberNames(p.members))
		}
	}
	return p.keepOrder(ctx)
}
