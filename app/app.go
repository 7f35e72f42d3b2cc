// Package app is the portal: a contest portal over HTTP/1.1, one bare protobuf message per body.
//
// New takes databases, keys and a clock, and returns an http.Handler that serves the routes of proto/routes.tsv for its role. The package
// does not know rounds or hosts. The comments of proto/portal/v1 and README.md in this directory define who may do what and when; this
// package's tests hold both.
//
// The portal is the app that contestants speed up. It is correct, and slow for honest reasons: it looks everything up again on every
// request, and computes its aggregates over all results each time.
package app

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"
)

// Role is which routes a process serves.
type Role string

// The roles: RoleWeb is for contestants, audience and admins, RoleAPI for workers.
const (
	RoleWeb Role = "web"
	RoleAPI Role = "api"
	RoleAll Role = "all"
)

// Store is the app's way to its databases. What DB and InTx write must be seen by Reader once they have returned.
type Store interface {
	// DB takes writes.
	DB() *sqlx.DB
	// Reader takes reads only.
	Reader() *sqlx.DB
	// InTx runs a read-modify-write, again where it met a deadlock or a lock wait (1213, 1205), a bounded number of times.
	InTx(ctx context.Context, opts *sql.TxOptions, fn func(*sqlx.Tx) error) error
}

// Options is what a portal is made of. All fields without a default are required.
type Options struct {
	Role  Role
	Store Store
	// Jobs holds the tables jobs and results where they are split off from the others (JobTables). Nil: Store has them too.
	Jobs Store
	// SessionKey signs the session cookies: 32 bytes or more, the same in every process of a portal.
	SessionKey []byte
	// WorkerToken is what workers show as "Authorization: Bearer <token>": 16 bytes or more.
	WorkerToken string
	// APIURL is where workers reach the api role, without a path; empty where it is where the web role is.
	APIURL string
	// AppID tells the ids of this process from those of any other: 0 to MaxAppID.
	AppID int
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger gets one line per 5xx answer, panic and slow request. Default: nothing is logged.
	Logger *zerolog.Logger
	// Slow is how long a request may take before it is logged. Default 1 s.
	Slow time.Duration
	// InitializeLimit is how long an initialize may take. Default a minute: more than a benchmark waits, and less than proxies do.
	InitializeLimit time.Duration
	// RequestLimit is how long any other request may take. Default 20 s.
	RequestLimit time.Duration
	// PasswordIterations is how costly new passwords' hashes are. Default DefaultPasswordIterations.
	PasswordIterations int
}

// Validate reports all errors of the options together.
func (o Options) Validate() error {
	var faults []error
	if o.Role != RoleWeb && o.Role != RoleAPI && o.Role != RoleAll {
		faults = append(faults, fmt.Errorf("role %q does not exist; there are %s, %s and %s", string(o.Role), RoleWeb, RoleAPI, RoleAll))
	}
	if o.Store == nil {
		faults = append(faults, errors.New("no store is set"))
	}
	if n := len(o.SessionKey); n < 32 {
		faults = append(faults, fmt.Errorf("the session key has %d bytes; it needs 32 or more", n))
	}
	if n := len(o.WorkerToken); n < 16 || strings.ContainsAny(o.WorkerToken, " \t\r\n") {
		faults = append(faults, fmt.Errorf("the worker token of %d bytes needs 16 or more, and no spaces", n))
	}
	if o.AppID < 0 || o.AppID > MaxAppID {
		faults = append(faults, fmt.Errorf("app id %d must be from 0 to %d", o.AppID, MaxAppID))
	}
	if o.PasswordIterations < 0 {
		faults = append(faults, fmt.Errorf("%d password iterations are negative", o.PasswordIterations))
	}
	return errors.Join(faults...)
}

// withDefaults returns o with every unset field that has a default set to it.
func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		nop := zerolog.Nop()
		o.Logger = &nop
	}
	o.Slow = cmp.Or(o.Slow, time.Second)
	o.InitializeLimit = cmp.Or(o.InitializeLimit, time.Minute)
	o.RequestLimit = cmp.Or(o.RequestLimit, 20*time.Second)
	o.PasswordIterations = cmp.Or(o.PasswordIterations, DefaultPasswordIterations)
	return o
}

// Portal is the app at work: the handler of its role's routes.
type Portal struct {
	http.Handler
	*portal
}

type portal struct {
	Options
	ids *IDs
	// decoy is compared with the password if the login does not exist, so that both take equally long.
	decoy string
	// initializing lets one initialize run at a time.
	initializing sync.Mutex
}

// New makes a portal, or reports all errors of the options. The caller closes the stores, after the server and Tend have ended.
func New(o Options) (*Portal, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	o = o.withDefaults()
	decoy, err := HashPassword("", make([]byte, saltBytes), o.PasswordIterations)
	if err != nil {
		return nil, fmt.Errorf("portal: %w", err)
	}
	p := &portal{Options: o, ids: NewIDs(o.AppID, o.Now), decoy: decoy}
	return &Portal{p.handler(), p}, nil
}

// split: jobs and results are on other databases than the other tables, so that neither a statement nor a transaction covers both.
func (p *portal) split() bool { return p.Jobs != nil }

func (p *portal) jobs() Store {
	if p.split() {
		return p.Jobs
	}
	return p.Store
}

// readAttempts is how often a read-only transaction is tried: an initialize under way may make it give way.
const readAttempts = 4

// readTx runs fn in a read-only transaction on one replica: its reads see the same moment. It repeats it after a deadlock with an
// initialize.
func readTx(ctx context.Context, s Store, fn func(*sqlx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := readOnce(ctx, s, fn)
		if attempt == readAttempts || !isSQL(err, errDeadlock) {
			return err
		}
	}
}

func readOnce(ctx context.Context, s Store, fn func(*sqlx.Tx) error) error {
	tx, err := s.Reader().BeginTxx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead})
	if err != nil {
		return err
	}
	defer tx.Rollback() // there is nothing to keep
	return fn(tx)
}

// writeTx runs a read-modify-write. READ COMMITTED: a read after a row lock sees what the last owner left, and ranges are not locked.
func writeTx(ctx context.Context, s Store, fn func(*sqlx.Tx) error) error {
	return s.InTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, fn)
}
