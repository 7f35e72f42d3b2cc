package scenario

import (
	"context"
	"fmt"
	"time"

	"isukit/bench/load"
	portalv1 "isukit/proto/portal/v1"
)

const listedNotifications = 100

// inbox is what a team has been notified of so far.
type inbox struct {
	lastSeq  int64
	jobs     map[int64]bool
	answered map[int64]int
}

// notifications polls for what is new.
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

// take holds new notifications against the model and keeps them. Their numbers have no gap, each job is told of once, and
// whatever has certainly happened before the poll is told by it.
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
