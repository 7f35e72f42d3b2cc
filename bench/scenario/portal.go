// Package scenario is what the users of the portal do and what they must see. In go the dataset, as far as a benchmark
// must know it, and a load engine; out come virtual users, the phases validate and check, and the score table. Every
// answer is decoded and held against a model of what the generator itself wrote. How requests travel is left to
// bench/load, the phases' order to bench.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"isukit/bench"
	"isukit/bench/load"
	"isukit/proto"
	portalv1 "isukit/proto/portal/v1"
)

// Options are the portal to measure, and its data.
type Options struct {
	Seed   uint64
	Engine *load.Engine
	Mix    Mix // "" is Everyone
	// Web is where contestants, audience and admins go: the proxy. The answer to initialize contains the address for workers.
	Web *load.Origin
	// WorkerToken is the secret that workers show.
	WorkerToken string
	Dataset     Dataset
	// Assets are the static files that the front page loads, by path ("/app.css"); "/" is the page itself.
	Assets map[string][]byte
}

// Dataset is the initial data, as far as users know it.
type Dataset struct {
	Admin Login
	// Leaders are the contestants that users log in as: one for each of their teams.
	Leaders []Login
	Teams   []Team
}

// Login is a contestant of the dataset.
type Login struct {
	ContestantID   int64
	Name, Password string
	TeamID         int64
}

// Team is a team of the dataset with its standing: the best and latest score of its passed results, and their number.
type Team struct {
	ID                     int64
	Name                   string
	Tags                   []string
	BestScore, LatestScore int64
	PassedResults          int32
}

// Portal is the scenario of the reference app. It implements bench.Scenario.
type Portal struct {
	// OnStep, if set before the load, is called with every step as its user begins it, from many goroutines.
	OnStep func(user int, s Step)

	opts      Options
	cast      cast // who comes
	model     *model
	endpoints map[string]load.Endpoint
	leaders   []Login // in the order in which users take them
	// assetPaths are the files of the front page without the page itself, in order.
	assetPaths []string
	api        *load.Origin
	// language is what initialize named.
	language string

	mu      sync.Mutex
	settled []seat
	crowd   *crowd // of an open-loop load
}

// seat is a contestant who has entered, and the team.
type seat struct {
	login Login
	team  *team
}

var _ bench.OpenScenario = (*Portal)(nil)

// New returns the scenario for one round; a second round needs a second one.
func New(opts Options) (*Portal, error) {
	if opts.Engine == nil || opts.Web == nil {
		return nil, errors.New("scenario: an engine and the web role's address are needed")
	}
	if opts.Dataset.Admin.Name == "" || len(opts.Dataset.Leaders) == 0 {
		return nil, errors.New("scenario: the dataset names no admin or no contestant")
	}
	who, err := opts.Mix.cast()
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	p := &Portal{opts: opts, cast: who, endpoints: map[string]load.Endpoint{}}
	for _, r := range proto.Portal() {
		name := r.Method + " " + r.Path
		p.endpoints[name] = opts.Engine.Endpoint(name)
	}
	for path := range opts.Assets {
		p.endpoints["GET "+path] = opts.Engine.Endpoint("GET " + path)
		if path != "/" {
			p.assetPaths = append(p.assetPaths, path)
		}
	}
	slices.Sort(p.assetPaths)
	p.leaders = shuffled(opts.Seed, opts.Dataset.Leaders)
	p.reset()
	return p, nil
}

// shuffled is a copy of logins in an order that the seed decides.
func shuffled(seed uint64, logins []Login) []Login {
	out := slices.Clone(logins)
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// reset makes the model what the dataset is.
func (p *Portal) reset() {
	teams := make([]*team, len(p.opts.Dataset.Teams))
	for i, t := range p.opts.Dataset.Teams {
		teams[i] = &team{id: t.ID, name: t.Name, tags: t.Tags, base: base{best: t.BestScore, latest: t.LatestScore, count: t.PassedResults}}
	}
	p.model = newModel(teams)
}

// Name implements bench.Scenario.
func (p *Portal) Name() string { return "portal" }

// Points implements bench.Scenario.
func (p *Portal) Points() bench.PointTable { return points }

// Facts implements bench.Scenario.
func (p *Portal) Facts() map[string]string {
	return map[string]string{"app_language": p.language}
}

// Points returns the score table without a portal to measure, for those who only want to read it.
func Points() bench.PointTable { return points }

// Initialize implements bench.Scenario: it resets the app's data and learns where the api role lives.
func (p *Portal) Initialize(ctx context.Context) error {
	b := p.quietBrowser(-1, userAgents[kindAdmin])
	defer b.close()
	// The portal's own clock and this one may differ by a little; the dataset is years old.
	p.model.begunAtUs = time.Now().Add(-time.Minute).UnixMicro()
	limit := bench.InitializeLimit
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end)
	}
	var resp portalv1.InitializeResponse
	err := b.do(ctx, &call{
		route: "POST /initialize", body: &portalv1.InitializeRequest{}, into: &resp, timeout: limit,
	})
	if err != nil {
		return err
	}
	p.language, p.api = resp.Language, p.opts.Web
	if resp.ApiUrl != "" {
		var err error
		if p.api, err = load.ParseOrigin(resp.ApiUrl); err != nil {
			return fmt.Errorf("initialize named an api_url that can't be used: %w", err)
		}
	}
	if resp.Language == "" {
		return errors.New("initialize named no language")
	}
	return nil
}

// User implements bench.Scenario.
func (p *Portal) User(n int) load.User {
	u := &user{Portal: p, number: n, plan: newPlan(p.cast, p.opts.Seed, n, len(p.leaders))}
	switch p.cast.kindOf(n) {
	case kindContestant:
		return u.contestant
	case kindAudience:
		return u.audience
	case kindWorker:
		return u.worker
	case kindAdmin:
		return u.admin
	default:
		return u.bot
	}
}

type user struct {
	*Portal
	number int
	plan   *plan
}

// next waits out the next step's pause and returns it; ok is false when the load is over.
func (u *user) next(ctx context.Context) (s Step, ok bool) {
	s = u.planned()
	return s, sleep(ctx, s.Pause) && load.Stay(ctx) == nil
}

// planned returns the next step immediately.
func (u *user) planned() Step {
	s := u.plan.next()
	if u.OnStep != nil {
		u.OnStep(u.number, s)
	}
	return s
}

func sleep(ctx context.Context, d time.Duration) bool { return load.Sleep(ctx, d) == nil }

// outlasting returns a context for requests: the end of the load lets a request that is under way finish, since a write
// without an answer could not be checked; everything else that ends ctx ends it as well.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			cancel()
		}
	})
	return out, func() { stop(); cancel() }
}
