package app

import (
	"context"
	"database/sql"
	"errors"
	"net/http"

	"github.com/jmoiron/sqlx"

	portalv1 "isukit/proto/portal/v1"
)

type clock struct {
	StartsAtUS  int64 `db:"starts_at_us"`
	FreezesAtUS int64 `db:"freezes_at_us"`
	EndsAtUS    int64 `db:"ends_at_us"`
}

// nowUS is the app's clock in microseconds since the Unix epoch.
func (p *portal) nowUS() int64 { return p.Now().UnixMicro() }

// phase is the contest's phase at a moment. Each phase begins with its moment.
func (c clock) phase(nowUS int64) portalv1.Phase {
	switch {
	case nowUS < c.StartsAtUS:
		return portalv1.Phase_PHASE_BEFORE
	case nowUS < c.FreezesAtUS:
		return portalv1.Phase_PHASE_RUNNING
	case nowUS < c.EndsAtUS:
		return portalv1.Phase_PHASE_FROZEN
	}
	return portalv1.Phase_PHASE_ENDED
}

func (c clock) proto(nowUS int64) *portalv1.Contest {
	return &portalv1.Contest{
		StartsAtUs: c.StartsAtUS, FreezesAtUs: c.FreezesAtUS, EndsAtUs: c.EndsAtUS, Phase: c.phase(nowUS),
	}
}

func phaseWord(phase portalv1.Phase) string {
	switch phase {
	case portalv1.Phase_PHASE_BEFORE:
		return "not begun"
	case portalv1.Phase_PHASE_RUNNING:
		return "running"
	case portalv1.Phase_PHASE_FROZEN:
		return "frozen"
	}
	return "over"
}

func jobsOpen(phase portalv1.Phase) bool {
	return phase == portalv1.Phase_PHASE_RUNNING || phase == portalv1.Phase_PHASE_FROZEN
}

func readClock(ctx context.Context, q sqlx.QueryerContext) (clock, error) {
	var c clock
	err := sqlx.GetContext(ctx, q, &c, "SELECT starts_at_us, freezes_at_us, ends_at_us FROM contest WHERE id = 1")
	if errors.Is(err, sql.ErrNoRows) {
		return c, refuse(http.StatusServiceUnavailable, "not_initialized", "the portal has no data yet", "POST /initialize first")
	}
	return c, err
}

// needJobsOpen refuses outside the phases in which jobs and questions are taken.
func (p *portal) needJobsOpen(ctx context.Context, q sqlx.QueryerContext) error {
	c, err := readClock(ctx, q)
	if err != nil {
		return err
	}
	if phase := c.phase(p.nowUS()); !jobsOpen(phase) {
		return notRunning(phaseWord(phase))
	}
	return nil
}

// needTeamsOpen refuses outside the phases in which teams are formed and changed.
func (p *portal) needTeamsOpen(ctx context.Context, q sqlx.QueryerContext) error {
	c, err := readClock(ctx, q)
	if err != nil {
		return err
	}
	phase := c.phase(p.nowUS())
	if phase != portalv1.Phase_PHASE_BEFORE && phase != portalv1.Phase_PHASE_RUNNING {
		return teamsClosed(phaseWord(phase))
	}
	return nil
}

func (p *portal) getContest(ctx context.Context, _ *call) (*portalv1.GetContestResponse, error) {
	c, err := readClock(ctx, p.Store.Reader())
	if err != nil {
		return nil, err
	}
	return &portalv1.GetContestResponse{Contest: c.proto(p.nowUS())}, nil
}

func (p *portal) updateContest(ctx context.Context, _ *call, m *portalv1.UpdateContestRequest) (*portalv1.UpdateContestResponse, error) {
	c := clock{StartsAtUS: m.GetStartsAtUs(), FreezesAtUS: m.GetFreezesAtUs(), EndsAtUS: m.GetEndsAtUs()}
	switch {
	case c.StartsAtUS < 0:
		return nil, badField("starts_at_us", "is negative")
	case c.FreezesAtUS < c.StartsAtUS:
		return nil, badField("freezes_at_us", "is before starts_at_us")
	case c.EndsAtUS < c.FreezesAtUS:
		return nil, badField("ends_at_us", "is before freezes_at_us")
	}
	_, err := p.Store.DB().ExecContext(ctx,
		"UPDATE contest SET starts_at_us = ?, freezes_at_us = ?, ends_at_us = ? WHERE id = 1", c.StartsAtUS, c.FreezesAtUS, c.EndsAtUS)
	if err != nil {
		return nil, err
	}
	return &portalv1.UpdateContestResponse{Contest: c.proto(p.nowUS())}, nil
}
