package scenario

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"isukit/bench"
)

type kind uint8

const (
	kindContestant kind = iota
	kindAudience
	kindWorker
	kindAdmin
	kindBot
)

func (k kind) String() string {
	return [...]string{"contestant", "audience", "worker", "admin", "bot"}[k]
}

// cast is who comes, in this order, again and again.
type cast []kind

func (c cast) kindOf(user int) kind { return c[user%len(c)] }

// ordinal counts the users of one kind from 0.
func (c cast) ordinal(user int) int {
	k, n := c.kindOf(user), 0
	perRound := 0
	for i, other := range c {
		if other != k {
			continue
		}
		perRound++
		if i < user%len(c) {
			n++
		}
	}
	return user/len(c)*perRound + n
}

// Action is one thing that a user plans to do.
type Action string

const (
	actFront          Action = "front page"
	actSignup         Action = "sign up"
	actLogin          Action = "log in"
	actSession        Action = "session"
	actCreateTeam     Action = "create team"
	actJoinTeam       Action = "join team"
	actDashboard      Action = "dashboard"
	actEnqueue        Action = "enqueue"
	actListJobs       Action = "list jobs"
	actShowJob        Action = "show job"
	actNotifications  Action = "notifications"
	actClarifications Action = "clarifications"
	actAsk            Action = "ask"
	actRetag          Action = "retag"
	actSearch         Action = "search"
	actRelogin        Action = "log out and in"
	actLeaderboard    Action = "leaderboard"
	actReceive        Action = "receive job"
	actAnswer         Action = "answer"
)

// Step is one planned request with its contents and the pause before it. Where an answer decides whether it can be sent
// (a team may have one unfinished job only) it is left out; its contents never depend on an answer.
type Step struct {
	Pause  time.Duration
	Action Action
	// Text is the step's content: a memo, a question, a team's name, a tag; empty where the request has none.
	Text string
}

func (s Step) String() string {
	return fmt.Sprintf("%s %s %q", s.Pause, s.Action, s.Text)
}

// plan yields the steps of one user, without end. It depends only on the seed, the user's number and the dataset.
type plan struct {
	cast cast
	user int
	// seats is how many teams of the dataset can be logged in to.
	seats int
	rng   *rand.Rand
	queue []Step
	tick  int
}

func newPlan(c cast, seed uint64, user, seats int) *plan {
	return &plan{cast: c, user: user, seats: seats, rng: rand.New(rand.NewPCG(seed, uint64(user)+1))}
}

func (p *plan) next() Step {
	for len(p.queue) == 0 {
		p.fill()
	}
	s := p.queue[0]
	p.queue = p.queue[1:]
	return s
}

func (p *plan) add(pause time.Duration, a Action, text string) {
	p.queue = append(p.queue, Step{Pause: pause, Action: a, Text: text})
}

// around spreads d by a tenth to both sides, so that users do not march in step.
func (p *plan) around(d time.Duration) time.Duration {
	return d*9/10 + time.Duration(p.rng.Int64N(int64(d/5)))
}

// text makes a content that no other step of the round has.
func (p *plan) text(what string) string {
	return fmt.Sprintf("%s %d-%d-%x", what, p.user, p.tick, p.rng.Uint32())
}

func (p *plan) fill() {
	defer func() { p.tick++ }()
	switch p.cast.kindOf(p.user) {
	case kindContestant:
		p.contestantTick()
	case kindAudience:
		p.audienceTick()
	case kindWorker:
		p.add(p.around(100*time.Millisecond), actReceive, "")
	case kindAdmin:
		p.adminTick()
	case kindBot:
		p.add(p.around(200*time.Millisecond), actLeaderboard, "")
	}
}

// seatOf returns which of the dataset's leaders a contestant logs in as; ok is false for one who signs up and founds a
// team instead: every third, and all when the seats are taken.
func (c cast) seatOf(user, seats int) (seat int, ok bool) {
	n := c.ordinal(user)
	seat = n/3*2 + n%3
	return seat, n%3 != 2 && seat < seats
}

func (p *plan) contestantTick() {
	if p.tick == 0 {
		p.add(p.around(200*time.Millisecond), actFront, "")
		if _, ok := p.cast.seatOf(p.user, p.seats); !ok {
			p.add(0, actSignup, fmt.Sprintf("u%d-%x", p.user, p.rng.Uint32()))
			p.add(p.around(50*time.Millisecond), actCreateTeam, p.text("Team"))
			p.add(p.around(50*time.Millisecond), actJoinTeam, fmt.Sprintf("m%d-%x", p.user, p.rng.Uint32()))
		} else {
			p.add(0, actLogin, "")
		}
		p.add(0, actSession, "")
		return
	}
	p.add(p.around(time.Second), actDashboard, "")
	p.add(0, actEnqueue, p.text("run"))
	p.add(p.around(50*time.Millisecond), actNotifications, "")
	if p.tick%2 == 0 {
		p.add(p.around(50*time.Millisecond), actClarifications, "")
	}
	switch n := p.rng.IntN(100); {
	case n < 20:
		p.add(p.around(50*time.Millisecond), actShowJob, "")
	case n < 35:
		p.add(p.around(50*time.Millisecond), actListJobs, "")
	case n < 45:
		p.add(p.around(50*time.Millisecond), actAsk, p.question())
	case n < 55:
		p.add(p.around(50*time.Millisecond), actRetag, p.text("tag"))
	case n < 65:
		p.add(p.around(50*time.Millisecond), actSearch, "")
	case n < 70:
		p.add(p.around(50*time.Millisecond), actSession, "")
	case n < 72:
		p.add(p.around(50*time.Millisecond), actRelogin, "")
	}
}

// question is in one of the two languages that contestants write.
func (p *plan) question() string {
	if p.rng.IntN(2) == 0 {
		return p.text("ベンチマークが失敗する理由を教えてください。")
	}
	return p.text("May we change the instance type after the freeze?")
}

func (p *plan) audienceTick() {
	if p.tick%10 == 0 {
		p.add(p.around(200*time.Millisecond), actFront, "")
	}
	p.add(p.around(500*time.Millisecond), actLeaderboard, "")
}

func (p *plan) adminTick() {
	if p.tick == 0 {
		p.add(0, actLogin, "")
		return
	}
	p.add(p.around(500*time.Millisecond), actAnswer, p.text("回答 / answer"))
}

// benchmark is what a run of a job gives: it depends on the seed and the job's memo alone, whichever worker runs it.
func benchmark(seed uint64, memo string) (score int64, passed bool) {
	h := seed ^ 0xcbf29ce484222325
	for _, c := range []byte(memo) {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	r := rand.New(rand.NewPCG(seed, h))
	return 1000 + r.Int64N(60000), r.IntN(10) != 0
}

// Mix is who comes.
type Mix string

// The mixes.
const (
	// Everyone is a contest under way: mostly contestants, enough workers for their jobs, one admin in 16 for the questions.
	Everyone Mix = "everyone"
	// Audience is a portal that is read far more than it is written: 13 of 16 only look, mostly at the leaderboard, while
	// one contestant and one worker in 16 see to it that the leaderboard changes.
	Audience Mix = "audience"
)

// Mixes are all of them.
func Mixes() []Mix { return []Mix{Everyone, Audience} }

var (
	everyone = cast{
		kindWorker, kindContestant, kindAudience, kindContestant, kindAdmin, kindContestant, kindContestant, kindWorker,
		kindContestant, kindAudience, kindContestant, kindContestant, kindBot, kindContestant, kindAudience, kindContestant,
	}
	audience = cast{
		kindWorker, kindAudience, kindAudience, kindAudience, kindContestant, kindAudience, kindAudience, kindAudience,
		kindAudience, kindAudience, kindAudience, kindAdmin, kindAudience, kindAudience, kindAudience, kindAudience,
	}
)

// Validate tells whether there is such a mix.
func (m Mix) Validate() error {
	_, err := m.cast()
	return err
}

func (m Mix) cast() (cast, error) {
	switch m {
	case Everyone, "":
		return everyone, nil
	case Audience:
		return audience, nil
	}
	var names []string
	for _, m := range Mixes() {
		names = append(names, string(m))
	}
	return nil, fmt.Errorf("mix %q does not exist (have %s)", m, strings.Join(names, ", "))
}

// points is the whole score table: what one right answer of each kind gives, and what an error takes.
var points = bench.PointTable{
	PerHit: []bench.EndpointPoints{
		{Endpoint: "POST /worker/jobs/{job_id}/result", Points: 20, Why: "a benchmark run went all the way"},
		{Endpoint: "POST /api/jobs", Points: 5, Why: "a run was enqueued"},
		{Endpoint: "GET /api/dashboard", Points: 5, Why: "a team saw its dashboard"},
		{Endpoint: "GET /api/leaderboard", Points: 3, Why: "somebody saw the leaderboard"},
		{Endpoint: "POST /api/teams", Points: 5, Why: "a team was founded"},
		{Endpoint: "POST /api/teams/{team_id}/members", Points: 3, Why: "somebody joined a team"},
		{Endpoint: "POST /api/signup", Points: 3, Why: "somebody signed up"},
		{Endpoint: "POST /api/login", Points: 2, Why: "somebody logged in"},
		{Endpoint: "POST /api/clarifications", Points: 2, Why: "a question was asked"},
		{Endpoint: "PUT /api/clarifications/{clarification_id}", Points: 2, Why: "a question was answered"},
		{Endpoint: "GET /api/clarifications", Points: 1, Why: "questions and answers were read"},
		{Endpoint: "GET /api/notifications", Points: 1, Why: "notifications were polled"},
		{Endpoint: "GET /api/jobs", Points: 1, Why: "a team listed its jobs"},
		{Endpoint: "GET /api/jobs/{job_id}", Points: 1, Why: "a team looked at a job"},
		{Endpoint: "GET /api/teams", Points: 1, Why: "teams were searched"},
		{Endpoint: "PUT /api/teams/{team_id}", Points: 1, Why: "a team changed its tags"},
		{Endpoint: "GET /", Points: 1, Why: "the front page was opened"},
	},
	PerError:   -10,
	PerTimeout: -20,
}
