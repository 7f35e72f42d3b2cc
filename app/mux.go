package app

import (
	"context"
	"net/http"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	routes "isukit/proto"
	"isukit/proto/wire"
)

// maxBodyBytes limits a body. The longest useful one, a question of 2,000 characters, has 8 kB; the rest is for later fields.
const maxBodyBytes = 64 << 10

type access int

const (
	public access = iota
	contestants
	admins
	workers
)

type call struct {
	w http.ResponseWriter
	r *http.Request
	// caller is who is logged in; it is nil on routes that are public or for workers.
	caller *contestant
}

// answer makes the response of a call. An error other than *wire.Fault is the app's own failure.
type answer func(ctx context.Context, c *call) (proto.Message, error)

type endpoint struct {
	routes.Route
	role   Role
	access access
	answer answer
}

// on starts an endpoint from "METHOD /path".
func on(pattern string, role Role, access access, e endpoint) endpoint {
	e.Method, e.Path, _ = strings.Cut(pattern, " ")
	e.role, e.access = role, access
	return e
}

func reading[Req any, PReq interface {
	*Req
	proto.Message
}, Res proto.Message](fn func(context.Context, *call, PReq) (Res, error)) endpoint {
	return endpoint{
		Route: routes.Route{Request: fullName(PReq(nil)), Response: fullName(*new(Res))},
		answer: func(ctx context.Context, c *call) (proto.Message, error) {
			m := PReq(new(Req))
			if err := wire.Read(c.r, m, maxBodyBytes); err != nil {
				return nil, err
			}
			return fn(ctx, c, m)
		},
	}
}

// plain is an endpoint without a message; a short body is ignored.
func plain[Res proto.Message](fn func(context.Context, *call) (Res, error)) endpoint {
	return endpoint{
		Route: routes.Route{Response: fullName(*new(Res))},
		answer: func(ctx context.Context, c *call) (proto.Message, error) {
			if err := wire.Discard(c.r, maxBodyBytes); err != nil {
				return nil, err
			}
			return fn(ctx, c)
		},
	}
}

func fullName(m proto.Message) string { return string(m.ProtoReflect().Descriptor().FullName()) }

func (p *portal) endpoints() []endpoint {
	return []endpoint{
		on("POST /initialize", RoleWeb, public, reading(p.initialize)),
		on("GET /api/contest", RoleWeb, public, plain(p.getContest)),
		on("PUT /api/contest", RoleWeb, admins, reading(p.updateContest)),
		on("POST /api/signup", RoleWeb, public, reading(p.signup)),
		on("POST /api/login", RoleWeb, public, reading(p.login)),
		on("POST /api/logout", RoleWeb, public, plain(p.logout)),
		on("GET /api/session", RoleWeb, public, plain(p.getSession)),
		on("GET /api/teams", RoleWeb, public, plain(p.searchTeams)),
		on("POST /api/teams", RoleWeb, contestants, reading(p.createTeam)),
		on("GET /api/teams/{team_id}", RoleWeb, public, plain(p.getTeam)),
		on("PUT /api/teams/{team_id}", RoleWeb, contestants, reading(p.updateTeam)),
		on("POST /api/teams/{team_id}/members", RoleWeb, contestants, reading(p.joinTeam)),
		on("GET /api/leaderboard", RoleWeb, public, plain(p.getLeaderboard)),
		on("GET /api/dashboard", RoleWeb, contestants, plain(p.getDashboard)),
		on("GET /api/jobs", RoleWeb, contestants, plain(p.listJobs)),
		on("POST /api/jobs", RoleWeb, contestants, reading(p.enqueueJob)),
		on("GET /api/jobs/{job_id}", RoleWeb, contestants, plain(p.getJob)),
		on("GET /api/clarifications", RoleWeb, contestants, plain(p.listClarifications)),
		on("POST /api/clarifications", RoleWeb, contestants, reading(p.askClarification)),
		on("PUT /api/clarifications/{clarification_id}", RoleWeb, admins, reading(p.answerClarification)),
		on("GET /api/notifications", RoleWeb, contestants, plain(p.listNotifications)),
		on("POST /worker/jobs/receive", RoleAPI, workers, reading(p.receiveJob)),
		on("POST /worker/jobs/{job_id}/progress", RoleAPI, workers, reading(p.reportProgress)),
		on("POST /worker/jobs/{job_id}/result", RoleAPI, workers, reading(p.reportResult)),
	}
}

// handler routes what the role serves, and answers everything else with an Error.
func (p *portal) handler() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, e := range p.endpoints() {
		if p.Role != RoleAll && e.role != p.Role {
			continue
		}
		mux.Handle(e.Method+" "+e.Path, p.serve(e))
		methods[e.Path] = append(methods[e.Path], e.Method)
	}
	mux.HandleFunc("GET /healthz", p.health)
	methods["/healthz"] = []string{http.MethodGet}
	for template, allowed := range methods {
		slices.Sort(allowed)
		mux.Handle(template, refuseMethod(allowed))
	}
	mux.HandleFunc("/", p.refuseRoute)
	return p.observed(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The mux would redirect such a path, with a body that is not a message.
		if r.URL.Path != path.Clean(r.URL.Path) {
			p.refuseRoute(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

func refuseMethod(allowed []string) http.Handler {
	list := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", list)
		_ = wire.WriteError(w, refuse(http.StatusMethodNotAllowed, "bad_method",
			"this path does not take the method "+clip(r.Method), "it takes "+list))
	})
}

func (p *portal) refuseRoute(w http.ResponseWriter, r *http.Request) {
	f := refuse(http.StatusNotFound, "no_route", "nothing is served at "+clip(r.URL.Path), "")
	if _, known := routes.Portal().Match(r.Method, r.URL.Path); known {
		f.Hint = "another role serves it; this process is " + string(p.Role)
	}
	_ = wire.WriteError(w, f) // the client may be gone
}
