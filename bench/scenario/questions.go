package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

const listedClarifications = 30

// listClarifications reads one page of what the browser's team may read.
func (b *browser) listClarifications(ctx context.Context, t *team, before int64) ([]*portalv1.Clarification, error) {
	var resp portalv1.ListClarificationsResponse
	p := page{before: before, limit: listedClarifications}
	err := b.do(ctx, &call{route: "GET /api/clarifications", query: p.query(), into: &resp, check: func(r *load.Response) error {
		return b.p.model.checkClarifications(t, resp.Clarifications, p, r.Sent, r.Done)
	}})
	return resp.Clarifications, err
}

// checkClarifications holds a page of what the team t may read against the model. The page's own-team part must be
// current; of other teams only disclosed questions may be there.
func (m *model) checkClarifications(t *team, got []*portalv1.Clarification, p page, sent, done time.Time) error {
	oldest, err := p.check("clarifications", len(got), func(i int) int64 { return got[i].Id })
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range got {
		if g.TeamId != t.id {
			if !g.Disclosed {
				return load.Faultf(load.Wrong, "another team's question is not kept secret", "team %d reads clarification %d of team %d", t.id, g.Id, g.TeamId)
			}
			continue
		}
		if err := m.checkOwnClarification(t, g, sent, done); err != nil {
			return err
		}
	}
	for _, q := range t.questions {
		if !q.asked.certainBy(sent) || !p.holds(q.id, oldest, len(got)) {
			continue
		}
		if !slices.ContainsFunc(got, func(g *portalv1.Clarification) bool { return g.Id == q.id }) {
			return load.Faultf(load.Stale, "list lacks a question that was acknowledged", "team %d: clarification %d", t.id, q.id)
		}
	}
	return nil
}

// checkOwnClarification holds one question of the team against the model; the caller holds the team's lock.
func (m *model) checkOwnClarification(t *team, g *portalv1.Clarification, sent, done time.Time) error {
	if g.GetTeamId() != t.id {
		return load.Faultf(load.Wrong, "answer is another team's", "clarification %d of team %d instead of %d", g.GetId(), g.GetTeamId(), t.id)
	}
	q := t.questionByID(g.Id)
	if q == nil {
		if m.ofDataset(g.AskedAtUs) {
			return nil
		}
		if q = t.questionByText(g.Question); q == nil {
			return load.Faultf(load.Wrong, "a question is listed that nobody asked", "team %d: clarification %d (%q)", t.id, g.Id, g.Question)
		}
		if q.id != 0 {
			return load.Faultf(load.Wrong, "a question that was asked once is listed twice", "team %d: clarifications %d and %d", t.id, q.id, g.Id)
		}
		m.identifyQuestion(q, g.Id)
	}
	if g.Question != q.text {
		return load.Faultf(load.Wrong, "question has another text than was sent", "clarification %d: %q instead of %q", q.id, g.Question, q.text)
	}
	return q.checkAnswer(g, sent, done)
}

func (q *question) checkAnswer(g *portalv1.Clarification, sent, done time.Time) error {
	switch {
	case g.Answer == "" && q.answered.certainBy(sent):
		return load.Faultf(load.Stale, "question lacks an answer that was acknowledged", "clarification %d", q.id)
	case g.Answer == "":
		return nil
	case !q.answered.possibleBy(done):
		return load.Faultf(load.Wrong, "question has an answer that nobody gave", "clarification %d: %q", q.id, g.Answer)
	case g.Answer != q.answer || g.Disclosed != q.disclose:
		return load.Faultf(load.Wrong, "question has another answer than was given", "clarification %d: %q %t instead of %q %t", q.id, g.Answer, g.Disclosed, q.answer, q.disclose)
	}
	return nil
}

func (c *contestant) ask(ctx context.Context, text string) error {
	_, err := c.askQuestion(ctx, c.team, text)
	return err
}

// askQuestion asks as the browser's team and keeps the model; a refused question leaves no trace in it.
func (b *browser) askQuestion(ctx context.Context, t *team, text string) (*question, error) {
	q := &question{team: t, text: text, asked: write{sent: time.Now()}}
	t.mu.Lock()
	t.questions = append(t.questions, q)
	t.mu.Unlock()
	var resp portalv1.AskClarificationResponse
	c := &call{
		route: "POST /api/clarifications", body: &portalv1.AskClarificationRequest{Question: text}, into: &resp,
		check: func(r *load.Response) error {
			t.mu.Lock()
			defer t.mu.Unlock()
			if err := b.p.model.checkOwnClarification(t, resp.Clarification, r.Sent, r.Done); err != nil {
				return err
			}
			q.asked.ack(r.Done)
			return nil
		},
	}
	err := b.do(ctx, c)
	if c.outcome(err) == notApplied {
		t.mu.Lock()
		t.questions = slices.DeleteFunc(t.questions, func(o *question) bool { return o == q })
		t.mu.Unlock()
	}
	return q, err
}

// admin answers questions, newest first, one at a time.
func (u *user) admin(ctx context.Context) {
	do, cancel := outlasting(ctx)
	defer cancel()
	b := u.browser(ctx, u.number, userAgents[kindAdmin])
	defer b.close()
	loggedIn := false
	for {
		s, ok := u.next(ctx)
		if !ok {
			return
		}
		if !loggedIn {
			loggedIn = b.logIn(do, u.opts.Dataset.Admin) == nil
		}
		if s.Action == actAnswer && loggedIn {
			b.answerOne(do, s.Text)
		}
	}
}

// answerOne reads the newest questions and answers the first of the round that has no answer and that no other admin is at.
func (b *browser) answerOne(ctx context.Context, text string) {
	var list portalv1.ListClarificationsResponse
	if b.do(ctx, &call{route: "GET /api/clarifications", into: &list}) != nil {
		return
	}
	for _, g := range list.Clarifications {
		if q := b.p.model.question(g.Id); q != nil && g.Answer == "" && q.claim(text) {
			b.answer(ctx, q)
			return
		}
	}
}

// claim makes the caller the one who answers q.
func (q *question) claim(answer string) bool {
	q.team.mu.Lock()
	defer q.team.mu.Unlock()
	if q.answer != "" {
		return false
	}
	// Half of the answers are for everybody.
	q.answer, q.disclose = answer, len(q.text)%2 == 0
	q.answered.sent = time.Now()
	return true
}

// answer sends the answer that was claimed.
func (b *browser) answer(ctx context.Context, q *question) error {
	var resp portalv1.AnswerClarificationResponse
	return b.do(ctx, &call{
		route: "PUT /api/clarifications/{clarification_id}", id: q.id,
		body: &portalv1.AnswerClarificationRequest{Answer: q.answer, Disclosed: q.disclose}, into: &resp,
		check: func(r *load.Response) error {
			q.team.mu.Lock()
			defer q.team.mu.Unlock()
			if err := b.p.model.checkOwnClarification(q.team, resp.Clarification, r.Sent, r.Done); err != nil {
				return err
			}
			if resp.Clarification.Answer == "" {
				return load.Faultf(load.Wrong, "question has no answer after it was answered", "clarification %d", q.id)
			}
			q.answered.ack(r.Done)
			return nil
		},
	})
}

const listedNotifications = 100

type inbox struct {
	lastSeq  int64
	jobs     map[int64]bool
	answered map[int64]int
}

func (c *contestant) notifications(ctx context.Context) error {
	return c.poll(ctx, c.team, &c.inbox)
}

func (b *browser) poll(ctx context.Context, t *team, in *inbox) error {
	var resp portalv1.ListNotificationsResponse
	c := &call{route: "GET /api/notifications", into: &resp, check: func(r *load.Response) error {
		return in.take(b.p.model, t, resp.Notifications, r.Sent, r.Done)
	}}
	if in.lastSeq > 0 {
		c.query = fmt.Sprintf("after=%d", in.lastSeq)
	}
	return b.do(ctx, c)
}

// take compares notifications with the model: numbers without gaps, each job once, and all that certainly happened before the poll.
func (in *inbox) take(m *model, t *team, ns []*portalv1.Notification, sent, done time.Time) error {
	if in.jobs == nil {
		in.jobs, in.answered = map[int64]bool{}, map[int64]int{}
	}
	if len(ns) > listedNotifications {
		return load.Faultf(load.Wrong, "list of notifications is too long", "%d, %d at most", len(ns), listedNotifications)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range ns {
		if n.Seq != in.lastSeq+1 {
			return load.Faultf(load.Wrong, "notifications have a gap or repeat", "team %d: number %d after %d", t.id, n.Seq, in.lastSeq)
		}
		if err := in.takeOne(m, t, n, done); err != nil {
			return err
		}
		in.lastSeq = n.Seq
	}
	if len(ns) == listedNotifications {
		return nil
	}
	for _, j := range t.jobs {
		if j.result != nil && j.result.certainBy(sent) && !in.jobs[j.id] {
			return load.Faultf(load.Stale, "no notification of a job that finished", "team %d: job %d", t.id, j.id)
		}
	}
	for _, q := range t.questions {
		if q.answered.certainBy(sent) && in.answered[q.id] == 0 {
			return load.Faultf(load.Stale, "no notification of an answered question", "team %d: clarification %d", t.id, q.id)
		}
	}
	return nil
}

func (in *inbox) takeOne(m *model, t *team, n *portalv1.Notification, done time.Time) error {
	switch s := n.Subject.(type) {
	case *portalv1.Notification_FinishedJobId:
		j := t.jobByID(s.FinishedJobId)
		switch {
		case m.ofDataset(n.CreatedAtUs):
		case j == nil:
			return load.Faultf(load.Wrong, "answer is another team's", "team %d is notified of job %d", t.id, s.FinishedJobId)
		case in.jobs[j.id]:
			return load.Faultf(load.Wrong, "a job is notified of twice", "team %d: job %d", t.id, j.id)
		case j.result == nil || !j.result.possibleBy(done):
			return load.Faultf(load.Wrong, "notification of a job that has not finished", "team %d: job %d", t.id, j.id)
		}
		in.jobs[s.FinishedJobId] = true
	case *portalv1.Notification_AnsweredClarificationId:
		q := t.questionByID(s.AnsweredClarificationId)
		switch {
		case m.ofDataset(n.CreatedAtUs):
		case q == nil:
			return load.Faultf(load.Wrong, "answer is another team's", "team %d is notified of clarification %d", t.id, s.AnsweredClarificationId)
		case !q.answered.possibleBy(done):
			return load.Faultf(load.Wrong, "notification of a question that has no answer", "team %d: clarification %d", t.id, q.id)
		}
		in.answered[s.AnsweredClarificationId]++
	default:
		return load.Faultf(load.Wrong, "notification says nothing", "team %d: number %d", t.id, n.Seq)
	}
	return nil
}
