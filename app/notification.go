package app

import (
	"context"
	"math"

	"github.com/jmoiron/sqlx"

	portalv1 "isukit/proto/portal/v1"
)

const notificationsPerPage = 100

type notification struct {
	TeamID                  int64 `db:"team_id"`
	Seq                     int64 `db:"seq"`
	CreatedAtUS             int64 `db:"created_at_us"`
	FinishedJobID           int64 `db:"finished_job_id"`
	AnsweredClarificationID int64 `db:"answered_clarification_id"`
}

func (n *notification) proto() *portalv1.Notification {
	m := &portalv1.Notification{Seq: n.Seq, CreatedAtUs: n.CreatedAtUS}
	if n.FinishedJobID != 0 {
		m.Subject = &portalv1.Notification_FinishedJobId{FinishedJobId: n.FinishedJobID}
	} else {
		m.Subject = &portalv1.Notification_AnsweredClarificationId{AnsweredClarificationId: n.AnsweredClarificationID}
	}
	return m
}

// lock takes the team's lock and the team's next number. A rollback returns the number, so the numbers have no gap. It is false if the team
// is gone after an initialize: nobody is left to notify.
func (n *notification) lock(ctx context.Context, tx *sqlx.Tx) (bool, error) {
	res, err := tx.ExecContext(ctx, "UPDATE teams SET notified = notified + 1 WHERE id = ?", n.TeamID)
	if err != nil {
		return false, err
	}
	if found, err := res.RowsAffected(); err != nil || found == 0 {
		return false, err
	}
	return true, tx.GetContext(ctx, &n.Seq, "SELECT notified FROM teams WHERE id = ?", n.TeamID)
}

func (n *notification) insert(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO notifications (team_id, seq, created_at_us, finished_job_id, answered_clarification_id)"+
		" VALUES (?, ?, ?, ?, ?)", n.TeamID, n.Seq, n.CreatedAtUS, n.FinishedJobID, n.AnsweredClarificationID)
	return err
}

func (p *portal) listNotifications(ctx context.Context, c *call) (*portalv1.ListNotificationsResponse, error) {
	q, err := queryOf(c.r)
	if err != nil {
		return nil, err
	}
	after, err := q.number("after", 0, math.MaxInt64, 0)
	if err != nil {
		return nil, err
	}
	if c.caller.TeamID == 0 {
		return nil, noTeam
	}
	var rows []notification
	err = p.Store.Reader().SelectContext(ctx, &rows, "SELECT team_id, seq, created_at_us, finished_job_id, answered_clarification_id"+
		" FROM notifications WHERE team_id = ? AND seq > ? ORDER BY seq LIMIT ?", c.caller.TeamID, after, notificationsPerPage)
	if err != nil {
		return nil, err
	}
	res := &portalv1.ListNotificationsResponse{}
	for i := range rows {
		res.Notifications = append(res.Notifications, rows[i].proto())
	}
	return res, nil
}
