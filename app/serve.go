package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-sql-driver/mysql"

	"isukit/proto/wire"
)

const healthTimeout = 2 * time.Second

// MySQL's and MariaDB's error numbers that the app decides on.
const (
	errDuplicate  = 1062
	errLockWait   = 1205
	errDeadlock   = 1213
	errNoDatabase = 1049
	errNoTable    = 1146
)

// statusWriter remembers what was answered, and what went wrong on the app's side.
type statusWriter struct {
	http.ResponseWriter
	status int
	cause  error
	gone   bool // the client had given up
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// observed turns panics into answers, and logs every 5xx answer and every slow request, one line each.
func (p *portal) observed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := p.Now()
		sw := &statusWriter{ResponseWriter: w}
		defer func() {
			if v := recover(); v != nil {
				p.recovered(sw, r, v)
			}
			p.log(sw, r, p.Now().Sub(start))
		}()
		next.ServeHTTP(sw, r)
	})
}

func (p *portal) recovered(w *statusWriter, r *http.Request, v any) {
	if v == http.ErrAbortHandler {
		panic(v) // the server's own way to drop a connection
	}
	w.cause = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
	if w.status != 0 {
		w.status = http.StatusInternalServerError
		return // an answer is under way already
	}
	p.fail(w, r, w.cause)
}

// log never writes headers, cookies, bodies or query strings.
func (p *portal) log(w *statusWriter, r *http.Request, took time.Duration) {
	if w.gone || w.status < 500 && took < p.Slow {
		return
	}
	event := p.Logger.Warn()
	if w.status >= 500 {
		event = p.Logger.Error().AnErr("error", w.cause)
	}
	event.Str("method", r.Method).Str("path", r.URL.Path).Int("status", w.status).Dur("took_ms", took).Msg("request")
}

// serve lets in who may call, and answers.
func (p *portal) serve(e endpoint) http.Handler {
	labels := pprof.Labels("route", e.Method+" "+e.Path)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := pprof.WithLabels(r.Context(), labels)
		pprof.SetGoroutineLabels(ctx) // profiles have the route of each sample
		defer pprof.SetGoroutineLabels(r.Context())
		ctx, cancel := context.WithTimeout(ctx, p.RequestLimit)
		defer cancel()
		c := &call{w: w, r: r}
		if err := p.admit(ctx, e.access, c); err != nil {
			p.fail(w, r, err)
			return
		}
		m, err := e.answer(ctx, c)
		if err != nil {
			p.fail(w, r, err)
			return
		}
		_ = wire.Write(w, http.StatusOK, m) // the client may be gone
	})
}

// admit finds out who calls, where the route asks for it, and refuses who has no right.
func (p *portal) admit(ctx context.Context, a access, c *call) error {
	if a == workers {
		if !p.bearsWorkerToken(c.r) {
			c.w.Header().Set("WWW-Authenticate", `Bearer realm="workers"`)
			return badWorkerToken
		}
		return nil
	}
	if a == public {
		return nil
	}
	// A shared cache must not store what depends on the cookie.
	c.w.Header().Set("Cache-Control", "private, no-store")
	caller, err := p.caller(ctx, c.r)
	switch {
	case err != nil:
		return err
	case caller == nil:
		return noSession
	case a == admins && !caller.Admin:
		return notAdmin
	}
	c.caller = caller
	return nil
}

// fail answers with an Error. What is not the client's doing is kept for the log and stays out of the answer.
func (p *portal) fail(w http.ResponseWriter, r *http.Request, err error) {
	var f *wire.Fault
	gone := false
	if !errors.As(err, &f) {
		gone = r.Context().Err() != nil
		f = ownFault(err, gone)
	}
	if sw, ok := w.(*statusWriter); ok && f.Status >= 500 {
		sw.cause, sw.gone = err, gone
	}
	_ = wire.WriteError(w, f) // the client may be gone
}

// ownFault tells failures that pass from those that do not.
func ownFault(err error, clientGone bool) *wire.Fault {
	switch {
	case clientGone:
		return refuse(http.StatusServiceUnavailable, "gone", "the request was given up by its client", "")
	case isSQL(err, errNoTable, errNoDatabase):
		return refuse(http.StatusServiceUnavailable, "not_prepared", "the tables are not there", "run isukit-app prepare")
	case errors.Is(err, sql.ErrConnDone), errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, context.DeadlineExceeded),
		isSQL(err, errDeadlock, errLockWait):
		return refuse(http.StatusServiceUnavailable, "busy", "the database did not manage this in time", "try again")
	}
	return refuse(http.StatusInternalServerError, "internal", "the portal failed; its log says how", "")
}

func isSQL(err error, numbers ...uint16) bool {
	var sqlError *mysql.MySQLError
	if !errors.As(err, &sqlError) {
		return false
	}
	for _, n := range numbers {
		if sqlError.Number == n {
			return true
		}
	}
	return false
}

// health answers GET /healthz with plain text: 200 when the databases answer, 503 when one does not.
func (p *portal) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	err := p.Store.Reader().PingContext(ctx)
	if err == nil && p.split() {
		err = p.Jobs.Reader().PingContext(ctx)
	}
	if err != nil {
		if sw, ok := w.(*statusWriter); ok {
			sw.cause = err
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "the database does not answer\n") // the client may be gone
		return
	}
	_, _ = io.WriteString(w, "ok\n") // the client may be gone
}

// clip quotes what came from a client and keeps it short enough for an answer.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "?")
	}
	return fmt.Sprintf("%q", s)
}
