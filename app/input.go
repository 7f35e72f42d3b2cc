package app

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"isukit/proto/wire"
)

func checkChars(field, s string, min, max int) error {
	if n := utf8.RuneCountInString(s); n < min || n > max {
		return badField(field, fmt.Sprintf("has %d characters; it takes %d to %d", n, min, max))
	}
	return nil
}

func checkBytes(field, s string, min, max int) error {
	if n := len(s); n < min || n > max {
		return badField(field, fmt.Sprintf("has %d bytes; it takes %d to %d", n, min, max))
	}
	return nil
}

func checkName(name string) error {
	if err := checkBytes("name", name, 1, 32); err != nil {
		return err
	}
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return badField("name", `takes only a to z, 0 to 9, "_" and "-"`)
		}
	}
	return nil
}

func checkTags(tags []string) error {
	if len(tags) > 10 {
		return badField("tags", fmt.Sprintf("has %d tags; it takes up to 10", len(tags)))
	}
	for i, tag := range tags {
		if err := checkChars(fmt.Sprintf("tags[%d]", i), tag, 1, 32); err != nil {
			return err
		}
	}
	return nil
}

func checkScore(score int64) error {
	if score < 0 {
		return badField("score", "is negative")
	}
	return nil
}

// query reads a request's parameters. Unknown ones are ignored; of several with one name the first counts.
type query struct{ values url.Values }

func queryOf(r *http.Request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, refuse(http.StatusBadRequest, "bad_query", "the query string cannot be read", "")
	}
	return query{values}, nil
}

// text gives a parameter, "" when absent.
func (q query) text(name string) (string, error) {
	s := q.values.Get(name)
	if !utf8.ValidString(s) {
		return "", badParameter(name, "is not UTF-8")
	}
	return s, nil
}

// number gives a parameter within min..max, or absent when it is absent or empty.
func (q query) number(name string, min, max, absent int64) (int64, error) {
	s := q.values.Get(name)
	if s == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < min || n > max {
		return 0, badParameter(name, fmt.Sprintf("is %s; it takes a number from %d to %d", clip(s), min, max))
	}
	return n, nil
}

// before gives the id that a page of a list ends at.
func (q query) before() (int64, error) {
	return q.number("before", 1, math.MaxInt64, math.MaxInt64)
}

// pathID is the id in the path. Text that is not an id is 404, like an id without a row.
func pathID(r *http.Request, name, what string) (int64, error) {
	s := r.PathValue(name)
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 {
		return 0, notFound(what, clip(s))
	}
	return id, nil
}

// The refusals that have one wording. Those of a field, a parameter or a thing that is not there are made below.
var (
	noSession      = refuse(http.StatusUnauthorized, "no_session", "nobody is logged in", "log in with POST /api/login")
	badLogin       = refuse(http.StatusUnauthorized, "bad_login", "no contestant has this name and password", "")
	badWorkerToken = refuse(http.StatusUnauthorized, "bad_worker_token", "the request does not bear the workers' token",
		"send Authorization: Bearer <token>")
	notAdmin    = refuse(http.StatusForbidden, "not_admin", "only an admin may do this", "")
	noTeam      = refuse(http.StatusForbidden, "no_team", "this is for members of a team, and you are in none", "create or join a team")
	notMember   = refuse(http.StatusForbidden, "not_member", "this belongs to a team that you are not in", "")
	wrongInvite = refuse(http.StatusForbidden, "wrong_invite", "invite_token is not that of the team", "get it from a member of the team")
	notYourJob  = refuse(http.StatusForbidden, "not_your_job", "another worker received this job", "")
)

func notRunning(phase string) *wire.Fault {
	return refuse(http.StatusForbidden, "not_running", "this needs a running contest, and it is "+phase, "")
}

func teamsClosed(phase string) *wire.Fault {
	return refuse(http.StatusForbidden, "teams_closed", "teams are closed once the contest is frozen, and it is "+phase, "")
}

func conflict(code, message string) *wire.Fault {
	return refuse(http.StatusConflict, code, message, "")
}

// notFound takes the id as a number or as text that is quoted already.
func notFound(what string, id any) *wire.Fault {
	return refuse(http.StatusNotFound, "not_found", fmt.Sprintf("%s %v not found", what, id), "")
}

func badField(field, rule string) *wire.Fault {
	return refuse(http.StatusBadRequest, "bad_field", field+" "+rule, "")
}

func badParameter(name, rule string) *wire.Fault {
	return refuse(http.StatusBadRequest, "bad_parameter", "the parameter "+name+" "+rule, "")
}

func refuse(status int, code, message, hint string) *wire.Fault {
	return &wire.Fault{Status: status, Code: code, Message: message, Hint: hint}
}

// MaxAppID is the largest app id of a running process. The id above it, 1023, is that of the dataset.
const MaxAppID = 1022

const (
	// idEpochMS is 2025-01-01 00:00 UTC in milliseconds, from which ids count.
	idEpochMS      = 1_735_689_600_000
	idAppBits      = 10
	idSequenceBits = 12
)

// IDs makes ids of 63 bits: 41 of milliseconds since 2025-01-01, 10 of app id, 12 of sequence. It is safe for use by many goroutines.
type IDs struct {
	appID int64
	now   func() time.Time

	mu   sync.Mutex
	last int64 // milliseconds and sequence of the last id
}

// NewIDs makes a source of ids. No two processes with the same app id may make ids at the same time.
func NewIDs(appID int, now func() time.Time) *IDs {
	return &IDs{appID: int64(appID), now: now}
}

// Next gives an id that is larger than every one before it, also when the clock goes back or more than 4,096 ids are
// asked for in one millisecond; then it runs ahead of the clock.
func (g *IDs) Next() int64 {
	stamp := (g.now().UnixMilli() - idEpochMS) << idSequenceBits
	g.mu.Lock()
	g.last = max(g.last+1, stamp)
	stamp = g.last
	g.mu.Unlock()
	const sequence = 1<<idSequenceBits - 1
	return (stamp&^sequence)<<idAppBits | g.appID<<idSequenceBits | stamp&sequence
}
