package app

import (
	"context"
	"math"
	"slices"

	"github.com/jmoiron/sqlx"

	portalv1 "isukit/proto/portal/v1"
)

const (
	defaultStandings   = 25
	maxStandings       = 10_000
	dashboardStandings = 25
)

// standing is a team's passed results in numbers, as the database computes them.
type standing struct {
	TeamID      int64 `db:"team_id"`
	BestScore   int64 `db:"best_score"`
	LatestScore int64 `db:"latest_score"`
	ResultCount int32 `db:"result_count"`
	LatestAtUS  int64 `db:"latest_at_us"`
}

// proto takes the rank, which is 0 for a team that is not ranked.
func (s *standing) proto(rank int, teamName string) *portalv1.Standing {
	return &portalv1.Standing{
		TeamId: s.TeamID, TeamName: teamName, Rank: int32(rank), BestScore: s.BestScore, LatestScore: s.LatestScore,
		ResultCount: s.ResultCount, LatestAtUs: s.LatestAtUS,
	}
}

// ranking computes the whole leaderboard from all results that were reported up to a moment: the best team first. The
// latest result is the one with the largest id, since ids are time-ordered.
//
// This is the app's heavy read, and nothing here keeps its outcome: it is for contestants to find out what to keep, and
// for how long.
func ranking(ctx context.Context, q sqlx.QueryerContext, untilUS int64) ([]standing, error) {
	var rows []standing
	err := sqlx.SelectContext(ctx, q, &rows, `
SELECT s.team_id, s.best_score, s.result_count, latest.score AS latest_score, latest.reported_at_us AS latest_at_us
FROM (
  SELECT team_id, MAX(score) AS best_score, COUNT(*) AS result_count, MAX(id) AS latest_id
  FROM results
  WHERE passed = 1 AND reported_at_us <= ?
  GROUP BY team_id
) s
JOIN results latest ON latest.id = s.latest_id
ORDER BY s.best_score DESC, s.team_id ASC`, untilUS)
	return rows, err
}

// teamNames looks up names of teams. It must run after the query for results: a team exists before its first result.
func teamNames(ctx context.Context, q sqlx.QueryerContext, rows []standing, others ...int64) (map[int64]string, error) {
	ids := others
	for i := range rows {
		ids = append(ids, rows[i].TeamID)
	}
	names := make(map[int64]string, len(ids))
	if len(ids) == 0 {
		return names, nil
	}
	statement, args, err := sqlx.In("SELECT id, name FROM teams WHERE id IN (?)", ids)
	if err != nil {
		return nil, err
	}
	var teams []struct {
		ID   int64  `db:"id"`
		Name string `db:"name"`
	}
	if err := sqlx.SelectContext(ctx, q, &teams, statement, args...); err != nil {
		return nil, err
	}
	for _, t := range teams {
		names[t.ID] = t.Name
	}
	return names, nil
}

// shownUntil is the moment up to which results count for the leaderboard: while it is frozen, when the freeze began.
func shownUntil(c clock, phase portalv1.Phase) int64 {
	if phase == portalv1.Phase_PHASE_FROZEN {
		return c.FreezesAtUS
	}
	return math.MaxInt64
}

// standings turns the top of a ranking into messages. It omits a result without a team: with split tables, new results may appear with old
// teams during an initialize.
func standings(rows []standing, names map[int64]string) []*portalv1.Standing {
	list := make([]*portalv1.Standing, 0, len(rows))
	for i := range rows {
		if name, ok := names[rows[i].TeamID]; ok {
			list = append(list, rows[i].proto(i+1, name))
		}
	}
	return list
}

func (p *portal) getLeaderboard(ctx context.Context, c *call) (*portalv1.GetLeaderboardResponse, error) {
	q, err := queryOf(c.r)
	if err != nil {
		return nil, err
	}
	limit, err := q.number("limit", 1, maxStandings, defaultStandings)
	if err != nil {
		return nil, err
	}
	clock, err := readClock(ctx, p.Store.Reader())
	if err != nil {
		return nil, err
	}
	phase := clock.phase(p.nowUS())
	rows, err := ranking(ctx, p.jobs().Reader(), shownUntil(clock, phase))
	if err != nil {
		return nil, err
	}
	shown := rows[:min(int(limit), len(rows))]
	names, err := teamNames(ctx, p.Store.Reader(), shown)
	if err != nil {
		return nil, err
	}
	return &portalv1.GetLeaderboardResponse{Standings: standings(shown, names), Total: int32(len(rows)), Phase: phase}, nil
}

func (p *portal) getDashboard(ctx context.Context, c *call) (*portalv1.GetDashboardResponse, error) {
	if c.caller.TeamID == 0 {
		return nil, noTeam
	}
	clock, err := readClock(ctx, p.Store.Reader())
	if err != nil {
		return nil, err
	}
	d := dashboard{teamID: c.caller.TeamID, phase: clock.phase(p.nowUS())}
	err = readTx(ctx, p.jobs(), func(tx *sqlx.Tx) error { return d.read(ctx, tx, shownUntil(clock, d.phase)) })
	if err != nil {
		return nil, err
	}
	shown := d.rows[:min(dashboardStandings, len(d.rows))]
	names, err := teamNames(ctx, p.Store.Reader(), shown, d.teamID)
	if err != nil {
		return nil, err
	}
	return &portalv1.GetDashboardResponse{
		Own: d.own.proto(d.rank(), names[d.teamID]), Leaderboard: standings(shown, names), Jobs: d.jobs, Phase: d.phase,
	}, nil
}

type dashboard struct {
	teamID int64
	phase  portalv1.Phase
	rows   []standing // the whole ranking
	own    standing
	jobs   []*portalv1.Job
}

// read reads everything at one moment, so that a team's own numbers and its place agree.
func (d *dashboard) read(ctx context.Context, tx *sqlx.Tx, untilUS int64) (err error) {
	if d.rows, err = ranking(ctx, tx, untilUS); err != nil {
		return err
	}
	if d.own, err = ownStanding(ctx, tx, d.teamID); err != nil {
		return err
	}
	d.jobs, err = newestJobs(ctx, tx, d.teamID, math.MaxInt64, dashboardJobs)
	return err
}

// rank is the team's place on the leaderboard, or 0.
func (d *dashboard) rank() int {
	return slices.IndexFunc(d.rows, func(s standing) bool { return s.TeamID == d.teamID }) + 1
}

// ownStanding counts all of a team's passed results, also those that the leaderboard hides.
func ownStanding(ctx context.Context, q sqlx.QueryerContext, teamID int64) (standing, error) {
	own := standing{TeamID: teamID}
	err := sqlx.GetContext(ctx, q, &own, `
SELECT s.best_score, s.result_count,
  COALESCE(latest.score, 0) AS latest_score, COALESCE(latest.reported_at_us, 0) AS latest_at_us
FROM (
  SELECT COALESCE(MAX(score), 0) AS best_score, COUNT(*) AS result_count, MAX(id) AS latest_id
  FROM results
  WHERE team_id = ? AND passed = 1
) s
LEFT JOIN results latest ON latest.id = s.latest_id`, teamID)
	return own, err
}
