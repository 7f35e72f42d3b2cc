package app

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"isukit/app/dataset"
	portalv1 "isukit/proto/portal/v1"
)

const maxTeamMembers = 3

type team struct {
	ID          int64  `db:"id"`
	Name        string `db:"name"`
	Tags        string `db:"tags"` // a JSON array
	CreatedAtUS int64  `db:"created_at_us"`
}

func (t *team) proto(members []int64) (*portalv1.Team, error) {
	var tags []string
	if err := json.Unmarshal([]byte(t.Tags), &tags); err != nil {
		return nil, fmt.Errorf("read the tags of team %d: %w", t.ID, err)
	}
	return &portalv1.Team{Id: t.ID, Name: t.Name, Tags: tags, MemberIds: members, CreatedAtUs: t.CreatedAtUS}, nil
}

func membersOf(ctx context.Context, q sqlx.QueryerContext, teamIDs ...int64) (map[int64][]int64, error) {
	members := make(map[int64][]int64, len(teamIDs))
	if len(teamIDs) == 0 {
		return members, nil
	}
	statement, args, err := sqlx.In("SELECT team_id, id FROM contestants WHERE team_id IN (?) ORDER BY id", teamIDs)
	if err != nil {
		return nil, err
	}
	var rows []struct {
		TeamID int64 `db:"team_id"`
		ID     int64 `db:"id"`
	}
	if err := sqlx.SelectContext(ctx, q, &rows, statement, args...); err != nil {
		return nil, err
	}
	for _, r := range rows {
		members[r.TeamID] = append(members[r.TeamID], r.ID)
	}
	return members, nil
}

const selectTeam = "SELECT id, name, tags, created_at_us FROM teams"

// loadTeam gives one team with its members, or a *wire.Fault when there is none.
func loadTeam(ctx context.Context, q sqlx.QueryerContext, id int64) (*portalv1.Team, error) {
	var t team
	err := sqlx.GetContext(ctx, q, &t, selectTeam+" WHERE id = ?", id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("team", id)
	}
	if err != nil {
		return nil, err
	}
	members, err := membersOf(ctx, q, id)
	if err != nil {
		return nil, err
	}
	return t.proto(members[id])
}

func (p *portal) getTeam(ctx context.Context, c *call) (*portalv1.GetTeamResponse, error) {
	id, err := pathID(c.r, "team_id", "team")
	if err != nil {
		return nil, err
	}
	var res portalv1.GetTeamResponse
	err = readTx(ctx, p.Store, func(tx *sqlx.Tx) error {
		res.Team, err = loadTeam(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &res, nil
}

// lockCaller takes the caller's row lock, which orders all that a contestant does with teams, and returns the contestant's current row.
func lockCaller(ctx context.Context, tx *sqlx.Tx, id int64) (*contestant, error) {
	c := &contestant{}
	err := tx.GetContext(ctx, c, "SELECT id, name, team_id, admin FROM contestants WHERE id = ? FOR UPDATE", id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noSession
	}
	return c, err
}

// needNoTeam locks the caller and refuses one who is in a team.
func needNoTeam(ctx context.Context, tx *sqlx.Tx, id int64) error {
	who, err := lockCaller(ctx, tx, id)
	if err != nil {
		return err
	}
	if who.TeamID != 0 {
		return conflict("in_team", "you are in a team already")
	}
	return nil
}

func (p *portal) createTeam(ctx context.Context, c *call, m *portalv1.CreateTeamRequest) (*portalv1.CreateTeamResponse, error) {
	if err := checkChars("name", m.GetName(), 1, 64); err != nil {
		return nil, err
	}
	if err := checkTags(m.GetTags()); err != nil {
		return nil, err
	}
	t := team{ID: p.ids.Next(), Name: m.GetName(), Tags: dataset.EncodeTags(m.GetTags())}
	res := &portalv1.CreateTeamResponse{InviteToken: rand.Text()}
	err := writeTx(ctx, p.Store, func(tx *sqlx.Tx) error {
		if err := needNoTeam(ctx, tx, c.caller.ID); err != nil {
			return err
		}
		if err := p.needTeamsOpen(ctx, tx); err != nil {
			return err
		}
		t.CreatedAtUS = p.nowUS()
		return insertTeam(ctx, tx, &t, res.InviteToken, c.caller.ID)
	})
	if isSQL(err, errDuplicate) {
		return nil, conflict("team_name_taken", "the team name "+clip(t.Name)+" is taken")
	}
	if err != nil {
		return nil, err
	}
	res.Team, err = t.proto([]int64{c.caller.ID})
	return res, err
}

func insertTeam(ctx context.Context, tx *sqlx.Tx, t *team, inviteToken string, memberID int64) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO teams (id, name, tags, invite_token, notified, created_at_us) VALUES (?, ?, ?, ?, 0, ?)",
		t.ID, t.Name, t.Tags, inviteToken, t.CreatedAtUS)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE contestants SET team_id = ? WHERE id = ?", t.ID, memberID)
	return err
}

// updateTeam replaces the tags. The member's row stays locked until the end, so that nobody who has just left changes them.
func (p *portal) updateTeam(ctx context.Context, c *call, m *portalv1.UpdateTeamRequest) (*portalv1.UpdateTeamResponse, error) {
	id, err := pathID(c.r, "team_id", "team")
	if err != nil {
		return nil, err
	}
	if err := checkTags(m.GetTags()); err != nil {
		return nil, err
	}
	res := &portalv1.UpdateTeamResponse{}
	err = writeTx(ctx, p.Store, func(tx *sqlx.Tx) error {
		if _, err := lockTeam(ctx, tx, id); err != nil {
			return err
		}
		if c.caller.TeamID != id {
			return notMember
		}
		if err := p.needTeamsOpen(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE teams SET tags = ? WHERE id = ?", dataset.EncodeTags(m.GetTags()), id); err != nil {
			return err
		}
		res.Team, err = loadTeam(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// lockTeam takes the row lock of a team, which orders everything that happens to the team, and gives its invite token.
func lockTeam(ctx context.Context, tx *sqlx.Tx, id int64) (inviteToken string, err error) {
	err = tx.GetContext(ctx, &inviteToken, "SELECT invite_token FROM teams WHERE id = ? FOR UPDATE", id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", notFound("team", id)
	}
	return inviteToken, err
}

func (p *portal) joinTeam(ctx context.Context, c *call, m *portalv1.JoinTeamRequest) (*portalv1.JoinTeamResponse, error) {
	id, err := pathID(c.r, "team_id", "team")
	if err != nil {
		return nil, err
	}
	if m.GetInviteToken() == "" {
		return nil, badField("invite_token", "is empty")
	}
	res := &portalv1.JoinTeamResponse{}
	err = writeTx(ctx, p.Store, func(tx *sqlx.Tx) error {
		if err := needNoTeam(ctx, tx, c.caller.ID); err != nil {
			return err
		}
		token, err := lockTeam(ctx, tx, id)
		if err != nil {
			return err
		}
		if subtle.ConstantTimeCompare([]byte(token), []byte(m.GetInviteToken())) != 1 {
			return wrongInvite
		}
		if err := p.needTeamsOpen(ctx, tx); err != nil {
			return err
		}
		if err := addMember(ctx, tx, id, c.caller.ID); err != nil {
			return err
		}
		res.Team, err = loadTeam(ctx, tx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return res, nil
}

// addMember needs the team's lock: the count holds until the end of the transaction.
func addMember(ctx context.Context, tx *sqlx.Tx, teamID, contestantID int64) error {
	members, err := membersOf(ctx, tx, teamID)
	if err != nil {
		return err
	}
	if len(members[teamID]) >= maxTeamMembers {
		return conflict("team_full", fmt.Sprintf("the team has its %d members", maxTeamMembers))
	}
	_, err = tx.ExecContext(ctx, "UPDATE contestants SET team_id = ? WHERE id = ?", teamID, contestantID)
	return err
}
