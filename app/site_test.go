package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"
	"google.golang.org/protobuf/proto"

	"forge.example/account/isukit/app/fanout"
	"isukit/app"
	"isukit/app/dataset"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
	portalv1 "isukit/proto/portal/v1"
	"isukit/proto/wire"
)

const (
	testSeed    = 11
	workerToken = "a-token-of-some-length"
)

var sessionKey = []byte("0123456789abcdef0123456789abcdef")

// site is a portal on a real database, with all roles, over real HTTP.
type site struct {
	db   *infratest.DB // the first replica
	pool *fanout.Pool
	// jobs and rest are the pool's groups where jobs and results are split off; else jobs is nil and rest is the pool.
	jobs, rest app.Store
	data       *dataset.Data
	url        string
	log        *syncBuffer

	shift *atomic.Int64 // nanoseconds that the portal's clock is ahead
}

func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.shift.Load())) }

func (s *site) setShift(d time.Duration) { s.shift.Store(int64(d)) }

// syncBuffer is a log that is written and read at the same time.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// onEngines runs fn on a portal of small scale on each engine.
func onEngines(t *testing.T, fn func(t *testing.T, s *site)) {
	forEachEngine(t, func(t *testing.T, engine string) { fn(t, newSite(t, engine, dataset.Small, 1)) })
}

// forEachEngine runs fn on both engines at the same time, and during other tests.
func forEachEngine(t *testing.T, fn func(t *testing.T, engine string)) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, engine)
		})
	}
}

// newSite starts so many replicas and a portal on them.
func newSite(t testing.TB, engine string, scale dataset.Scale, replicas int) *site {
	t.Helper()
	var conf fanout.Config
	s := &site{}
	for range replicas {
		s.addDB(t, engine, scale, &conf, allTables())
	}
	s.open(t, conf, scale)
	s.rest = s.pool
	s.url = s.serve(t, app.RoleAll, 1)
	return s
}

func allTables() []string { return append(app.JobTables(), app.OtherTables()...) }

// newSplitSite has jobs and results on one server and everything else on two others.
func newSplitSite(t testing.TB, engine string, scale dataset.Scale) *site {
	t.Helper()
	var conf fanout.Config
	s := &site{}
	s.addDB(t, engine, scale, &conf, app.JobTables())
	s.addDB(t, engine, scale, &conf, app.OtherTables())
	s.addDB(t, engine, scale, &conf, app.OtherTables())
	conf.Groups = []fanout.Group{
		{Name: "jobs", Replicas: []string{"db-1"}, Tables: app.JobTables()},
		{Name: "rest", Replicas: []string{"db-2", "db-3"}, Tables: app.OtherTables()},
	}
	s.open(t, conf, scale)
	s.jobs, s.rest = s.pool.Group("jobs"), s.pool.Group("rest")
	s.url = s.serve(t, app.RoleAll, 1)
	return s
}

// newReplicatedSite has a source and a replica; every request is fresh, as with cmd/isukit-app.
func newReplicatedSite(t testing.TB, engine string) *site {
	t.Helper()
	conf := fanout.Config{Mode: fanout.ModeReplicated}
	s := &site{}
	servers := infratest.StartReplicated(t, engine, 2, false)
	s.db = servers.DBs[0]
	s.db.Exec(t, "CREATE DATABASE portal CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	prepare(t, s.db, dataset.Small, allTables())
	for n, db := range servers.DBs {
		conf.Replicas = append(conf.Replicas, fanout.Replica{Name: fmt.Sprint("db-", n+1), DSN: db.RootDSN("portal")})
	}
	wait.ForNil(t, "the replica to have copied the database", func() (err error) {
		s.pool, err = fanout.Open(t.Context(), patient(conf))
		return err
	})
	t.Cleanup(func() { s.pool.Close() })
	s.settle(t, dataset.Small)
	s.rest = throughPool{s.pool}
	portal := s.portal(t, app.RoleAll, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		portal.ServeHTTP(w, r.WithContext(fanout.Fresh(r.Context())))
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// throughPool reads where the pool knows how far behind a replica is.
type throughPool struct{ *fanout.Pool }

func (p throughPool) Reader() *sqlx.DB { return p.DB() }

// addDB starts one more server for some tables.
func (s *site) addDB(t testing.TB, engine string, scale dataset.Scale, conf *fanout.Config, tables []string) {
	t.Helper()
	started := infratest.StartDB(t, engine)
	started.Exec(t, "CREATE DATABASE portal CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	prepare(t, started, scale, tables)
	if s.db == nil {
		s.db = started
	}
	conf.Replicas = append(conf.Replicas, fanout.Replica{Name: fmt.Sprint("db-", len(conf.Replicas)+1), DSN: started.RootDSN("portal")})
}

// patient is conf without the limits after which a slow server counts as one that is lost.
func patient(conf fanout.Config) fanout.Config {
	conf.DialTimeout, conf.ProbeTimeout, conf.WriteTimeout = wait.Limit, wait.Limit, 10*wait.Limit
	return conf
}

func (s *site) open(t testing.TB, conf fanout.Config, scale dataset.Scale) {
	t.Helper()
	var err error
	if s.pool, err = fanout.Open(t.Context(), patient(conf)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.pool.Close() })
	s.settle(t, scale)
}

func (s *site) settle(t testing.TB, scale dataset.Scale) {
	t.Helper()
	var err error
	if s.data, err = dataset.Generate(testSeed, scale); err != nil {
		t.Fatal(err)
	}
	s.log, s.shift = &syncBuffer{}, &atomic.Int64{}
}

// reader is a database that has the table.
func (s *site) reader(table string) *sqlx.DB {
	if s.jobs != nil && slices.Contains(app.JobTables(), table) {
		return s.jobs.Reader()
	}
	return s.rest.Reader()
}

func prepare(t testing.TB, db *infratest.DB, scale dataset.Scale, tables []string) {
	t.Helper()
	own, err := sql.Open("mysql", db.RootDSN("portal")+"&interpolateParams=true")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if err := app.Prepare(t.Context(), own, testSeed, scale, tables); err != nil {
		t.Fatal(err)
	}
}

// serve starts one more process of the portal, so to speak, and gives its address.
func (s *site) serve(t testing.TB, role app.Role, appID int) string {
	t.Helper()
	server := httptest.NewServer(s.portal(t, role, appID))
	t.Cleanup(server.Close)
	return server.URL
}

func (s *site) portal(t testing.TB, role app.Role, appID int) *app.Portal {
	t.Helper()
	logger := zerolog.New(s.log)
	p, err := app.New(app.Options{
		Role: role, Store: s.rest, Jobs: s.jobs, SessionKey: sessionKey, WorkerToken: workerToken, APIURL: "http://127.0.0.1:9292",
		AppID: appID, InitializeLimit: 10 * wait.Limit, RequestLimit: 10 * wait.Limit, Now: s.now, Logger: &logger, PasswordIterations: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// client is a browser or a worker.
type client struct {
	s     *site
	http  *http.Client
	token string
}

func (s *site) client() *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // it has no options to be wrong
	}
	return &client{s: s, http: &http.Client{Jar: jar}}
}

func (s *site) worker() *client {
	c := s.client()
	c.token = workerToken
	return c
}

// initialize resets the data and the clock.
func (s *site) initialize(t testing.TB) {
	t.Helper()
	s.setShift(0)
	s.client().do(t, "POST", "/initialize", &portalv1.InitializeRequest{}, &portalv1.InitializeResponse{})
}

// login gives a client with the session of a contestant of the dataset.
func (s *site) login(t testing.TB, who dataset.Contestant) *client {
	t.Helper()
	c := s.client()
	c.do(t, "POST", "/api/login", &portalv1.LoginRequest{Name: who.Name, Password: who.Password}, &portalv1.LoginResponse{})
	return c
}

func (s *site) admin(t testing.TB) *client {
	t.Helper()
	return s.login(t, s.data.Admin)
}

// free gives the n-th contestant of the dataset who is in no team.
func (s *site) free(t testing.TB, n int) dataset.Contestant {
	t.Helper()
	for _, c := range s.data.Contestants {
		if c.TeamID == 0 {
			if n--; n < 0 {
				return c
			}
		}
	}
	t.Fatal("the dataset has too few contestants without a team")
	return dataset.Contestant{}
}

// member gives the first member of the n-th team.
func (s *site) member(t testing.TB, n int) dataset.Contestant {
	t.Helper()
	for _, c := range s.data.Contestants {
		if c.ID == s.data.Teams[n].MemberIDs[0] {
			return c
		}
	}
	t.Fatalf("team %d has no member", n)
	return dataset.Contestant{}
}

type response struct {
	status int
	header http.Header
	body   []byte
}

// send sends a message, or no body when m is nil.
func (c *client) send(ctx context.Context, method, path string, m proto.Message) (*response, error) {
	if m == nil {
		return c.sendRaw(ctx, method, path, "", nil)
	}
	body, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return c.sendRaw(ctx, method, path, wire.ContentType, body)
}

func (c *client) sendRaw(ctx context.Context, method, path, contentType string, body []byte) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.s.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return &response{res.StatusCode, res.Header, got}, err
}

// try sends a message and reads the answer into res; the error is a *wire.Fault for an answer of 400 and above.
func (c *client) try(ctx context.Context, method, path string, req, res proto.Message) error {
	got, err := c.send(ctx, method, path, req)
	if err != nil {
		return err
	}
	if got.status >= 400 {
		e, ok := wire.FromResponse(got.status, got.header.Get("Content-Type"), got.body)
		if !ok {
			return fmt.Errorf("%s %s: status %d without an Error: %q", method, path, got.status, got.body)
		}
		return &wire.Fault{Status: got.status, Code: e.GetCode(), Message: e.GetMessage(), Hint: e.GetHint()}
	}
	if contentType := got.header.Get("Content-Type"); contentType != wire.ContentType {
		return fmt.Errorf("%s %s: Content-Type %q, want %q", method, path, contentType, wire.ContentType)
	}
	return wire.Unmarshal(got.body, res)
}

// do wants a 200.
func (c *client) do(t testing.TB, method, path string, req, res proto.Message) {
	t.Helper()
	if err := c.try(t.Context(), method, path, req, res); err != nil {
		t.Fatalf("%s %s with {%v}: %v", method, path, req, err)
	}
}

// refused wants an Error with this status and code, whose message is for a person.
func (c *client) refused(t testing.TB, status int, code, method, path string, req proto.Message) *wire.Fault {
	t.Helper()
	err := c.try(t.Context(), method, path, req, &portalv1.LogoutResponse{})
	f, ok := err.(*wire.Fault)
	if !ok || f.Status != status || f.Code != code || len(f.Message) < 10 {
		t.Errorf("%s %s with {%v}: %v, want %d %s with a message", method, path, req, err, status, code)
		return &wire.Fault{}
	}
	return f
}
