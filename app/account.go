package app

import (
	"context"
	"database/sql"
	"errors"
	"net/http"

	"github.com/jmoiron/sqlx"

	portalv1 "isukit/proto/portal/v1"
)

// contestant is a row of contestants without its password.
type contestant struct {
	ID     int64  `db:"id"`
	Name   string `db:"name"`
	TeamID int64  `db:"team_id"`
	Admin  bool   `db:"admin"`
}

func (c *contestant) proto() *portalv1.Contestant {
	return &portalv1.Contestant{Id: c.ID, Name: c.Name, TeamId: c.TeamID, Admin: c.Admin}
}

// caller gives who is logged in, or nil: without a session, with one that is not genuine or over, and when the
// contestant is no longer there, as after an initialize.
func (p *portal) caller(ctx context.Context, r *http.Request) (*contestant, error) {
	id, ok := p.sessionContestant(r)
	if !ok {
		return nil, nil
	}
	c := &contestant{}
	err := p.Store.Reader().GetContext(ctx, c, "SELECT id, name, team_id, admin FROM contestants WHERE id = ?", id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return c, err
}

func (p *portal) signup(ctx context.Context, c *call, m *portalv1.SignupRequest) (*portalv1.SignupResponse, error) {
	if err := checkName(m.GetName()); err != nil {
		return nil, err
	}
	if err := checkBytes("password", m.GetPassword(), 8, 128); err != nil {
		return nil, err
	}
	hash, err := hashNewPassword(m.GetPassword(), p.PasswordIterations)
	if err != nil {
		return nil, err
	}
	who := contestant{ID: p.ids.Next(), Name: m.GetName()}
	err = writeTx(ctx, p.Store, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO contestants (id, name, password_hash, team_id, admin, created_at_us) VALUES (?, ?, ?, 0, 0, ?)",
			who.ID, who.Name, hash, p.nowUS())
		return err
	})
	if isSQL(err, errDuplicate) {
		return nil, conflict("name_taken", "the name "+clip(who.Name)+" is taken")
	}
	if err != nil {
		return nil, err
	}
	p.startSession(c.w, who.ID)
	return &portalv1.SignupResponse{Contestant: who.proto()}, nil
}

func (p *portal) login(ctx context.Context, c *call, m *portalv1.LoginRequest) (*portalv1.LoginResponse, error) {
	var row struct {
		contestant
		PasswordHash string `db:"password_hash"`
	}
	err := p.Store.Reader().GetContext(ctx, &row,
		"SELECT id, name, team_id, admin, password_hash FROM contestants WHERE name = ?", m.GetName())
	known := !errors.Is(err, sql.ErrNoRows)
	if err != nil && known {
		return nil, err
	}
	if !known {
		row.PasswordHash = p.decoy
	}
	right, err := CheckPassword(row.PasswordHash, m.GetPassword())
	if err != nil {
		return nil, err
	}
	if !right || !known {
		return nil, badLogin()
	}
	p.startSession(c.w, row.ID)
	return &portalv1.LoginResponse{Contestant: row.proto()}, nil
}

// logout forgets the session; without one there is nothing to forget, and that is no error.
func (p *portal) logout(_ context.Context, c *call) (*portalv1.LogoutResponse, error) {
	endSession(c.w)
	return &portalv1.LogoutResponse{}, nil
}

func (p *portal) getSession(ctx context.Context, c *call) (*portalv1.GetSessionResponse, error) {
	c.w.Header().Set("Cache-Control", "private, no-store")
	clock, err := readClock(ctx, p.Store.Reader())
	if err != nil {
		return nil, err
	}
	res := &portalv1.GetSessionResponse{Contest: clock.proto(p.nowUS())}
	who, err := p.caller(ctx, c.r)
	if err != nil {
		return nil, err
	}
	if who != nil {
		res.Contestant = who.proto()
	}
	return res, nil
}
