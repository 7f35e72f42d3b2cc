package scenario

import (
	"slices"
	"sort"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

const leaderboardAge = time.Second

// checkLeaderboard holds standings, the first limit of total, against what the model knows for a question asked at sent
// and answered at done. The leaderboard may be leaderboardAge old.
func (m *model) checkLeaderboard(standings []*portalv1.Standing, limit int, sent, done time.Time) error {
	low := sent.Add(-leaderboardAge)
	if len(standings) > limit {
		return load.Faultf(load.Wrong, "leaderboard is longer than asked for", "%d standings, limit %d", len(standings), limit)
	}
	listed := make(map[int64]bool, len(standings))
	for i, s := range standings {
		if err := m.checkStanding(s, low, done); err != nil {
			return err
		}
		if listed[s.TeamId] {
			return load.Faultf(load.Wrong, "leaderboard lists a team twice", "team %d", s.TeamId)
		}
		listed[s.TeamId] = true
		if s.Rank != int32(i+1) {
			return load.Faultf(load.Wrong, "leaderboard rank is wrong", "team %d at place %d has rank %d", s.TeamId, i+1, s.Rank)
		}
		if i > 0 {
			p := standings[i-1]
			if compareRank(p.BestScore, p.TeamId, s.BestScore, s.TeamId) >= 0 {
				return load.Faultf(load.Wrong, "leaderboard is not in order", "team %d (%d) stands before team %d (%d)", p.TeamId, p.BestScore, s.TeamId, s.BestScore)
			}
		}
	}
	return m.checkNobodyMissing(standings, listed, len(standings) == limit, low)
}

func (m *model) checkStanding(s *portalv1.Standing, low, high time.Time) error {
	t := m.team(s.TeamId)
	if t == nil {
		// A team that is being created by another user right now has no result yet, so it can't stand here.
		return load.Faultf(load.Wrong, "leaderboard shows a team that does not exist", "team %d %q", s.TeamId, s.TeamName)
	}
	if s.TeamName != t.name {
		return load.Faultf(load.Wrong, "leaderboard shows a wrong team name", "team %d is %q, answered %q", t.id, t.name, s.TeamName)
	}
	return t.standing(low, high).check(s)
}

// check reports how the standing s breaks the bounds; a value that was correct once is stale, any other is wrong.
func (b bounds) check(s *portalv1.Standing) error {
	switch {
	case s.ResultCount < b.countLow:
		return load.Faultf(load.Stale, "standing lacks a result that was acknowledged", "team %d: %d results, must be %d to %d", s.TeamId, s.ResultCount, b.countLow, b.countHigh)
	case s.ResultCount > b.countHigh:
		return load.Faultf(load.Wrong, "standing counts more results than were reported", "team %d: %d results, must be %d to %d", s.TeamId, s.ResultCount, b.countLow, b.countHigh)
	case s.BestScore < b.bestLow:
		return load.Faultf(load.Stale, "standing has an old best score", "team %d: best %d, must be %d to %d", s.TeamId, s.BestScore, b.bestLow, b.bestHigh)
	case s.BestScore > b.bestHigh:
		return load.Faultf(load.Wrong, "standing has a best score that was never reported", "team %d: best %d, must be %d to %d", s.TeamId, s.BestScore, b.bestLow, b.bestHigh)
	case !slices.Contains(b.latest, s.LatestScore):
		return load.Faultf(load.Wrong, "standing has a wrong latest score", "team %d: latest %d, must be one of %d", s.TeamId, s.LatestScore, b.latest)
	}
	return nil
}

// checkNobodyMissing looks for teams that must stand before the last one listed, or anywhere when the list is not full.
func (m *model) checkNobodyMissing(standings []*portalv1.Standing, listed map[int64]bool, full bool, low time.Time) error {
	active, idle := m.teams()
	must := len(idle)
	if full && len(standings) > 0 {
		last := standings[len(standings)-1]
		must = sort.Search(len(idle), func(i int) bool {
			return compareRank(idle[i].base.best, idle[i].id, last.BestScore, last.TeamId) > 0
		})
		for _, t := range active {
			if b := t.standing(low, low); b.countLow > 0 && !listed[t.id] && compareRank(b.bestLow, t.id, last.BestScore, last.TeamId) < 0 {
				return load.Faultf(load.Stale, "leaderboard lacks a team", "team %d with %d points is not among the first %d", t.id, b.bestLow, len(standings))
			}
		}
	} else {
		for _, t := range active {
			if b := t.standing(low, low); b.countLow > 0 && !listed[t.id] {
				return load.Faultf(load.Stale, "leaderboard lacks a team", "team %d with %d results", t.id, b.countLow)
			}
		}
	}
	for _, t := range idle[:must] {
		if !listed[t.id] {
			return load.Faultf(load.Wrong, "leaderboard lacks a team of the dataset", "team %d with %d points", t.id, t.base.best)
		}
	}
	return nil
}

// rankBounds returns the best and the worst rank that t may have; 0, 0 when it can't be ranked yet.
func (m *model) rankBounds(t *team, low, high time.Time) (best, worst int32) {
	own := t.standing(low, high)
	if own.countHigh == 0 {
		return 0, 0
	}
	active, idle := m.teams()
	above := func(best int64) int32 {
		return int32(sort.Search(len(idle), func(i int) bool {
			return compareRank(idle[i].base.best, idle[i].id, best, t.id) >= 0
		}))
	}
	best, worst = 1+above(own.bestHigh), 1+above(own.bestLow)
	for _, o := range active {
		if o == t {
			continue
		}
		b := o.standing(low, high)
		if b.countLow > 0 && compareRank(b.bestLow, o.id, own.bestHigh, t.id) < 0 {
			best++
		}
		if b.countHigh > 0 && compareRank(b.bestHigh, o.id, own.bestLow, t.id) < 0 {
			worst++
		}
	}
	if own.countLow == 0 {
		best = 0
	}
	return best, worst
}
