package scenario

import "isukit/bench"

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
