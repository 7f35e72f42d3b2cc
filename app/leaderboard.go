package app

import (
	"context"
	"math"

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
	TeamID      int64  `db:"team_id"`
	TeamName    string `db:"team_name"`
	BestScore   int64  `db:"best_score"`
	LatestScore int64  `db:"latest_score"`
	ResultCount int32  `db:"result_count"`
	LatestAtUS  int64  `db:"latest_at_us"`
}

// proto takes the rank, which is 0 for a team that is not ranked.
func (s *standing) proto(rank int) *portalv1.Standing {
	return &portalv1.Standing{
		TeamId: s.TeamID, TeamName: s.TeamName, Rank: int32(rank), BestScore: s.BestScore, LatestScore: s.LatestScore,
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
SELECT t.id AS team_id, t.name AS team_name, s.best_score, s.result_count,
  latest.score AS latest_score, latest.reported_at_us AS latest_at_us
FROM (
  SELECT team_id, MAX(score) AS best_score, COUNT(*) AS result_count, MAX(id) AS latest_id
  FROM results
  WHERE passed = 1 AND reported_at_us <= ?
  GROUP BY team_id
) s
JOIN teams t ON t.id = s.team_id
JOIN results latest ON latest.id = s.latest_id
ORDER BY s.best_score DESC, t.id ASC`, untilUS)
	return rows, err
}

// shownUntil is the moment up to which results count for the leaderboard: while it is frozen, when the freeze began.
func shownUntil(c clock, phase portalv1.Phase) int64 {
	if phase == portalv1.Phase_PHASE_FROZEN {
		return c.FreezesAtUS
	}
	return math.MaxInt64
}

// firstStandings gives the first n of a ranking as messages.
func firstStandings(rows []standing, n int) []*portalv1.Standing {
	standings := make([]*portalv1.Standing, min(n, len(rows)))
	for i := range standings {
		standings[i] = rows[i].proto(i + 1)
	}
	return standings
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
	rows, err := ranking(ctx, p.Store.Reader(), shownUntil(clock, phase))
	if err != nil {
		return nil, err
	}
	return &portalv1.GetLeaderboardResponse{
		Standings: firstStandings(rows, int(limit)), Total: int32(len(rows)), Phase: phase,
	}, nil
}

func (p *portal) getDashboard(ctx context.Context, c *call) (*portalv1.GetDashboardResponse, error) {
	if c.caller.TeamID == 0 {
		return nil, noTeam()
	}
	var res *portalv1.GetDashboardResponse
	err := p.readTx(ctx, func(tx *sqlx.Tx) error {
		var err error
		res, err = p.dashboard(ctx, tx, c.caller.TeamID)
		return err
	})
	return res, err
}

// dashboard reads everything at one moment, so that a team's own numbers and its place agree.
func (p *portal) dashboard(ctx context.Context, tx *sqlx.Tx, teamID int64) (*portalv1.GetDashboardResponse, error) {
	clock, err := readClock(ctx, tx)
	if err != nil {
		return nil, err
	}
	res := &portalv1.GetDashboardResponse{Phase: clock.phase(p.nowUS())}
	rows, err := ranking(ctx, tx, shownUntil(clock, res.Phase))
	if err != nil {
		return nil, err
	}
	res.Leaderboard = firstStandings(rows, dashboardStandings)
	rank := 0
	for i := range rows {
		if rows[i].TeamID == teamID {
			rank = i + 1
		}
	}
	own, err := ownStanding(ctx, tx, teamID)
	if err != nil {
		return nil, err
	}
	res.Own = own.proto(rank)
	res.Jobs, err = newestJobs(ctx, tx, teamID, math.MaxInt64, dashboardJobs)
	return res, err
}

// ownStanding counts all of a team's passed results, whatever the leaderboard shows.
func ownStanding(ctx context.Context, q sqlx.QueryerContext, teamID int64) (*standing, error) {
	s := &standing{}
	err := sqlx.GetContext(ctx, q, s, `
SELECT t.id AS team_id, t.name AS team_name, s.best_score, s.result_count,
  COALESCE(latest.score, 0) AS latest_score, COALESCE(latest.reported_at_us, 0) AS latest_at_us
FROM teams t
JOIN (
  SELECT COALESCE(MAX(score), 0) AS best_score, COUNT(*) AS result_count, MAX(id) AS latest_id
  FROM results
  WHERE team_id = ? AND passed = 1
) s
LEFT JOIN results latest ON latest.id = s.latest_id
WHERE t.id = ?`, teamID, teamID)
	return s, err
}
