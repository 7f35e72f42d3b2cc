package app

import (
	"fmt"
	"net/http"

	"isukit/proto/wire"
)

// The refusals that have one wording. Those of a field, a parameter or a thing that is not there are made below.
func noSession() *wire.Fault {
	return refuse(http.StatusUnauthorized, "no_session", "nobody is logged in", "log in with POST /api/login")
}

func badLogin() *wire.Fault {
	return refuse(http.StatusUnauthorized, "bad_login", "there is no contestant with this name and password", "")
}

func badWorkerToken() *wire.Fault {
	return refuse(http.StatusUnauthorized, "bad_worker_token", "the request does not bear the workers' token",
		"send Authorization: Bearer <token>")
}

func notAdmin() *wire.Fault {
	return refuse(http.StatusForbidden, "not_admin", "only an admin may do this", "")
}

func noTeam() *wire.Fault {
	return refuse(http.StatusForbidden, "no_team", "this is for members of a team, and you are in none", "create or join a team")
}

func notMember() *wire.Fault {
	return refuse(http.StatusForbidden, "not_member", "this belongs to a team that you are not in", "")
}

func notRunning(phase string) *wire.Fault {
	return refuse(http.StatusForbidden, "not_running", "this needs a running contest, and it is "+phase, "")
}

func teamsClosed(phase string) *wire.Fault {
	return refuse(http.StatusForbidden, "teams_closed", "teams are closed once the contest is frozen, and it is "+phase, "")
}

func wrongInvite() *wire.Fault {
	return refuse(http.StatusForbidden, "wrong_invite", "invite_token is not that of the team", "ask a member of the team for it")
}

func notYourJob() *wire.Fault {
	return refuse(http.StatusForbidden, "not_your_job", "another worker received this job", "")
}

func conflict(code, message string) *wire.Fault {
	return refuse(http.StatusConflict, code, message, "")
}

// notFound takes the id as a number or as text that is quoted already.
func notFound(what string, id any) *wire.Fault {
	return refuse(http.StatusNotFound, "not_found", fmt.Sprintf("there is no %s %v", what, id), "")
}

// badField says which field of the message breaks its rule.
func badField(field, rule string) *wire.Fault {
	return refuse(http.StatusBadRequest, "bad_field", field+" "+rule, "")
}

// badParameter says which query parameter breaks its rule.
func badParameter(name, rule string) *wire.Fault {
	return refuse(http.StatusBadRequest, "bad_parameter", "the parameter "+name+" "+rule, "")
}

func refuse(status int, code, message, hint string) *wire.Fault {
	return &wire.Fault{Status: status, Code: code, Message: message, Hint: hint}
}
