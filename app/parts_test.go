package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/rs/zerolog"

	"isukit/app"
	"isukit/app/dataset"
	routes "isukit/proto"
	"isukit/proto/wire"
)

func TestIDsGrowAndTellTheirTime(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ids := app.NewIDs(77, func() time.Time { return now })
	last := int64(0)
	for i := range 10_000 { // more than one millisecond has
		if i == 5_000 {
			now = now.Add(-time.Hour) // the clock goes back
		}
		id := ids.Next()
		if id <= last {
			t.Fatalf("id %d after %d", id, last)
		}
		if got := id >> 12 & 1023; got != 77 {
			t.Fatalf("id %d bears app id %d, want 77", id, got)
		}
		last = id
	}
	now = time.Date(2094, 1, 1, 0, 0, 0, 0, time.UTC)
	id := ids.Next()
	if got := app.IDTime(id); !got.Equal(now) || id < 0 {
		t.Errorf("id %d is of %v, want %v", id, got, now)
	}
}

func TestIDsOfManyGoroutines(t *testing.T) {
	ids := app.NewIDs(1, time.Now)
	var mu sync.Mutex
	seen := map[int64]bool{}
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			for range 2_000 {
				id := ids.Next()
				mu.Lock()
				if seen[id] {
					t.Errorf("id %d twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	done.Wait()
}

// The dataset makes ids of its own in the same layout, with an app id that no process has.
func TestDatasetIDsAreOlderThanTheAppsOwn(t *testing.T) {
	d, err := dataset.Generate(1, dataset.Small)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range d.Contestants {
		if got := app.IDTime(c.ID).UnixMicro() / 1000; got != c.CreatedAtUS/1000 || c.ID>>12&1023 <= app.MaxAppID {
			t.Fatalf("contestant %d is of millisecond %d, want %d, and not of an app", c.ID, got, c.CreatedAtUS/1000)
		}
	}
	if last := d.Jobs[len(d.Jobs)-1].ResultID; last >= app.NewIDs(0, time.Now).Next() {
		t.Errorf("the dataset's last result %d is not older than now", last)
	}
}

func TestPasswords(t *testing.T) {
	stored, err := app.HashPassword("秘密のことば", []byte("0123456789abcdef"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	// Made with Python's hashlib.pbkdf2_hmac.
	want := "pbkdf2-sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg$ACtdPna+1N7ckFxiYgjMSHZ4Sxqc7yZiAokZmeNGo8U"
	if stored != want {
		t.Errorf("stored as %s, want %s", stored, want)
	}
	for password, want := range map[string]bool{"秘密のことば": true, "秘密のことば ": false, "": false} {
		if got, err := app.CheckPassword(stored, password); got != want || err != nil {
			t.Errorf("CheckPassword(%q) = %v, %v; want %v", password, got, err, want)
		}
	}
	for _, broken := range []string{"", "plain", "md5$1$a$b", "pbkdf2-sha256$x$MDEy$aaaa", "pbkdf2-sha256$0$MDEy$aaaa",
		"pbkdf2-sha256$99999999999$MDEy$aaaa", "pbkdf2-sha256$1$!!$aaaa", "pbkdf2-sha256$1$$aaaa"} {
		if ok, err := app.CheckPassword(broken, "x"); ok || err == nil {
			t.Errorf("CheckPassword of stored %q = %v, %v; want an error", broken, ok, err)
		}
	}
}

func TestOptionsReportEveryFault(t *testing.T) {
	_, err := app.New(app.Options{Role: "db", SessionKey: []byte("short"), WorkerToken: "short", AppID: 1023, PasswordIterations: -1})
	if err == nil {
		t.Fatal("New took them")
	}
	for _, want := range []string{`role "db"`, "no store", "session key has 5 bytes", "worker token of 5 bytes", "app id 1023", "iterations"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "short") {
		t.Errorf("the error tells a secret: %v", err)
	}
}

// brokenStore is a database that fails in ways that a real one does not on demand.
type brokenStore struct {
	db    *sqlx.DB
	panic any
}

func (s *brokenStore) DB() *sqlx.DB { return s.Reader() }
func (s *brokenStore) Reader() *sqlx.DB {
	if s.panic != nil {
		panic(s.panic)
	}
	return s.db
}
func (s *brokenStore) InTx(context.Context, *sql.TxOptions, func(*sqlx.Tx) error) error {
	return errors.New("a fault with secret details")
}

func newBroken(t *testing.T, store *brokenStore, role app.Role) (http.Handler, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	logger := zerolog.New(log)
	h, err := app.New(app.Options{Role: role, Store: store, SessionKey: sessionKey, WorkerToken: workerToken, Logger: &logger, PasswordIterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	return h, log
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	h, log := newBroken(t, &brokenStore{panic: "something secret"}, app.RoleAll)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/api/contest?token=hidden", nil))
	e, ok := wire.FromResponse(w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
	if w.Code != 500 || !ok || e.GetCode() != "internal" || strings.Contains(e.String(), "secret") {
		t.Errorf("answer %d %v", w.Code, e)
	}
	line := log.String()
	if strings.Count(line, "\n") != 1 || !strings.Contains(line, "panic: something secret") || !strings.Contains(line, "contest.go") || strings.Contains(line, "hidden") {
		t.Errorf("log: %s", line)
	}
}

func TestAbortedHandlerStaysAborted(t *testing.T) {
	h, _ := newBroken(t, &brokenStore{panic: http.ErrAbortHandler}, app.RoleAll)
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v, want http.ErrAbortHandler", v)
		}
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api/contest", nil))
}

func TestOwnFailureStaysOutOfTheAnswer(t *testing.T) {
	h, log := newBroken(t, &brokenStore{}, app.RoleAll)
	r := httptest.NewRequest("POST", "/api/signup", strings.NewReader("\n\x01a\x12\x0blong enough"))
	r.Header.Set("Content-Type", wire.ContentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	e, _ := wire.FromResponse(w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
	if w.Code != 500 || e.GetCode() != "internal" || strings.Contains(e.String(), "secret") {
		t.Errorf("answer %d %v", w.Code, e)
	}
	if !strings.Contains(log.String(), "a fault with secret details") || strings.Contains(log.String(), "long enough") {
		t.Errorf("log: %s", log)
	}
}

func TestRolesServeTheirRoutesOnly(t *testing.T) {
	for _, role := range []app.Role{app.RoleWeb, app.RoleAPI} {
		h, _ := newBroken(t, &brokenStore{panic: "reached"}, role)
		for _, r := range routes.Portal() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(r.Method, r.Path, nil))
			e, _ := wire.FromResponse(w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
			own := strings.HasPrefix(r.Path, "/worker/") == (role == app.RoleAPI)
			if served := e.GetCode() != "no_route"; served != own {
				t.Errorf("role %s, %s %s: %d %v; served should be %v", role, r.Method, r.Path, w.Code, e, own)
			}
			if !own && !strings.Contains(e.GetHint(), "role") {
				t.Errorf("role %s, %s %s: hint %q does not speak of roles", role, r.Method, r.Path, e.GetHint())
			}
		}
		if got := len(app.Routes(role)); got == 0 || got == len(routes.Portal()) {
			t.Errorf("role %s has %d routes", role, got)
		}
	}
}
