package app

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"

	portalv1 "isukit/proto/portal/v1"
)

const (
	clarificationsPerPage = 30
	maxQuestionChars      = 2000
	maxAnswerChars        = 2000
)

type clarification struct {
	ID           int64  `db:"id"`
	TeamID       int64  `db:"team_id"`
	Question     string `db:"question"`
	Answer       string `db:"answer"`
	Disclosed    bool   `db:"disclosed"`
	AskedAtUS    int64  `db:"asked_at_us"`
	AnsweredAtUS int64  `db:"answered_at_us"`
}

const selectClarification = "SELECT id, team_id, question, answer, disclosed, asked_at_us, answered_at_us FROM clarifications"

func (c *clarification) proto() *portalv1.Clarification {
	return &portalv1.Clarification{
		Id: c.ID, TeamId: c.TeamID, Question: c.Question, Answer: c.Answer, Disclosed: c.Disclosed,
		AskedAtUs: c.AskedAtUS, AnsweredAtUs: c.AnsweredAtUS,
	}
}

func (p *portal) listClarifications(ctx context.Context, c *call) (*portalv1.ListClarificationsResponse, error) {
	q, err := queryOf(c.r)
	if err != nil {
		return nil, err
	}
	before, err := q.before()
	if err != nil {
		return nil, err
	}
	statement, args := selectClarification+" WHERE id < ?", []any{before}
	if !c.caller.Admin {
		statement, args = statement+" AND (team_id = ? OR disclosed = 1)", append(args, c.caller.TeamID)
	}
	var rows []clarification
	err = p.Store.Reader().SelectContext(ctx, &rows, statement+" ORDER BY id DESC LIMIT ?", append(args, clarificationsPerPage)...)
	if err != nil {
		return nil, err
	}
	res := &portalv1.ListClarificationsResponse{}
	for i := range rows {
		res.Clarifications = append(res.Clarifications, rows[i].proto())
	}
	return res, nil
}

func (p *portal) askClarification(ctx context.Context, c *call, m *portalv1.AskClarificationRequest) (*portalv1.AskClarificationResponse, error) {
	if err := checkChars("question", m.GetQuestion(), 1, maxQuestionChars); err != nil {
		return nil, err
	}
	if c.caller.TeamID == 0 {
		return nil, noTeam
	}
	row := clarification{TeamID: c.caller.TeamID, Question: m.GetQuestion()}
	err := writeTx(ctx, p.Store, func(tx *sqlx.Tx) error {
		if _, err := lockTeam(ctx, tx, row.TeamID); err != nil {
			return err
		}
		if err := p.needJobsOpen(ctx, tx); err != nil {
			return err
		}
		row.ID, row.AskedAtUS = p.ids.Next(), p.nowUS()
		_, err := tx.ExecContext(ctx, "INSERT INTO clarifications (id, team_id, question, answer, disclosed, asked_at_us, answered_at_us)"+
			" VALUES (?, ?, ?, '', 0, ?, 0)", row.ID, row.TeamID, row.Question, row.AskedAtUS)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &portalv1.AskClarificationResponse{Clarification: row.proto()}, nil
}

func (p *portal) answerClarification(ctx context.Context, c *call, m *portalv1.AnswerClarificationRequest) (*portalv1.AnswerClarificationResponse, error) {
	id, err := pathID(c.r, "clarification_id", "clarification")
	if err != nil {
		return nil, err
	}
	if err := checkChars("answer", m.GetAnswer(), 1, maxAnswerChars); err != nil {
		return nil, err
	}
	var row clarification
	err = writeTx(ctx, p.Store, func(tx *sqlx.Tx) error {
		row, err = p.answer(ctx, tx, id, m)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &portalv1.AnswerClarificationResponse{Clarification: row.proto()}, nil
}

// answer writes the answer and notifies the team that asked, each time again: a changed answer is news.
func (p *portal) answer(ctx context.Context, tx *sqlx.Tx, id int64, m *portalv1.AnswerClarificationRequest) (clarification, error) {
	var row clarification
	err := tx.GetContext(ctx, &row, selectClarification+" WHERE id = ? FOR UPDATE", id)
	if errors.Is(err, sql.ErrNoRows) {
		return row, notFound("clarification", id)
	}
	if err != nil {
		return row, err
	}
	n := notification{TeamID: row.TeamID, AnsweredClarificationID: id}
	there, err := n.lock(ctx, tx)
	if err != nil {
		return row, err
	}
	n.CreatedAtUS = max(p.nowUS(), row.AskedAtUS)
	row.Answer, row.Disclosed, row.AnsweredAtUS = m.GetAnswer(), m.GetDisclosed(), n.CreatedAtUS
	_, err = tx.ExecContext(ctx, "UPDATE clarifications SET answer = ?, disclosed = ?, answered_at_us = ? WHERE id = ?",
		row.Answer, row.Disclosed, row.AnsweredAtUS, id)
	if err != nil || !there {
		return row, err
	}
	return row, n.insert(ctx, tx)
}
