package app

import (
	"context"

	"github.com/jmoiron/sqlx"

	portalv1 "isukit/proto/portal/v1"
)

const (
	teamsPerPage = 20
	maxPage      = 1_000_000
)

func (p *portal) searchTeams(ctx context.Context, c *call) (*portalv1.SearchTeamsResponse, error) {
	q, err := queryOf(c.r)
	if err != nil {
		return nil, err
	}
	name, err := q.text("name")
	if err != nil {
		return nil, err
	}
	tag, err := q.text("tag")
	if err != nil {
		return nil, err
	}
	page, err := q.number("page", 1, maxPage, 1)
	if err != nil {
		return nil, err
	}
	where, args := teamFilter(name, tag)
	var res *portalv1.SearchTeamsResponse
	err = readTx(ctx, p.Store, func(tx *sqlx.Tx) error {
		res, err = findTeams(ctx, tx, where, args, page)
		return err
	})
	return res, err
}

// teamFilter makes the condition of a search. JSON_CONTAINS needs JSON: an unquoted tag is an error on MySQL, and no rows on MariaDB.
func teamFilter(name, tag string) (where string, args []any) {
	where = " WHERE 1 = 1"
	if name != "" {
		where, args = where+" AND LOCATE(?, name) > 0", append(args, name)
	}
	if tag != "" {
		where, args = where+" AND JSON_CONTAINS(tags, JSON_QUOTE(?))", append(args, tag)
	}
	return where, args
}

func findTeams(ctx context.Context, tx *sqlx.Tx, where string, args []any, page int64) (*portalv1.SearchTeamsResponse, error) {
	res := &portalv1.SearchTeamsResponse{}
	if err := tx.GetContext(ctx, &res.Total, "SELECT COUNT(*) FROM teams"+where, args...); err != nil {
		return nil, err
	}
	var teams []team
	err := tx.SelectContext(ctx, &teams, selectTeam+where+" ORDER BY id LIMIT ? OFFSET ?",
		append(args[:len(args):len(args)], teamsPerPage, (page-1)*teamsPerPage)...)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(teams))
	for i, t := range teams {
		ids[i] = t.ID
	}
	members, err := membersOf(ctx, tx, ids...)
	if err != nil {
		return nil, err
	}
	for i := range teams {
		m, err := teams[i].proto(members[teams[i].ID])
		if err != nil {
			return nil, err
		}
		res.Teams = append(res.Teams, m)
	}
	return res, nil
}
