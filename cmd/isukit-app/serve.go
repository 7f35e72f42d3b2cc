package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"forge.example/account/isukit/app/fanout"
	"isukit/app"
)

// databaseHint is what to do where a database cannot be used.
const databaseHint = "check that each database runs, accepts the user of its dsn_file, and was prepared (isukit-app prepare)"

const (
	// openTimeout is how long serve waits for databases that are still starting.
	openTimeout = 30 * time.Second
	// stopTimeout limits requests in progress after a signal to stop.
	stopTimeout = 10 * time.Second
)

// runServe serves until ctx ends, then lets the requests under way finish. Log lines go to errs.
func runServe(ctx context.Context, conf *config, errs io.Writer) error {
	logger := zerolog.New(errs).With().Timestamp().Str("role", conf.Role).Int("app_id", conf.AppID).Logger()
	key, err := readSecret(conf.SessionKeyFile)
	if err != nil {
		return &usageError{fmt.Errorf("session_key_file: %w", err), secretHint("32", conf.SessionKeyFile)}
	}
	token, err := readSecret(conf.WorkerTokenFile)
	if err != nil {
		return &usageError{fmt.Errorf("worker_token_file: %w", err), secretHint("16", conf.WorkerTokenFile)}
	}
	if warning := fanout.Mode(conf.WriteMode).Warning(); warning != "" {
		logger.Warn().Str("write_mode", conf.WriteMode).Msg(warning)
	}
	pool, err := openPool(ctx, conf, logger)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &hintedError{fmt.Errorf("open the databases: %w", err), databaseHint}
	}
	stores, err := conf.newStores(pool)
	if err != nil {
		return &hintedError{errors.Join(fmt.Errorf("open the databases: %w", err), pool.Close()), databaseHint}
	}
	defer stores.close() // no request is in progress here
	opts := app.Options{
		Role: app.Role(conf.Role), Store: stores.rest, SessionKey: []byte(key), WorkerToken: token, APIURL: conf.APIURL,
		AppID: conf.AppID, Logger: &logger,
	}
	if stores.jobs != nil {
		opts.Jobs = stores.jobs
	}
	portal, err := app.New(opts)
	if err != nil {
		return &usageError{err, ""}
	}
	handler := conf.fresh(portal)
	servers := []*http.Server{newServer(conf.Listen, handler, logger)}
	if conf.Socket != "" {
		servers = append(servers, newServer(unixPrefix+conf.Socket, handler, logger))
	}
	if conf.DebugListen != "" {
		servers = append(servers, newServer(conf.DebugListen, debugHandler(), logger))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return portal.Tend(ctx) })
	group.Go(func() error { return serveAll(ctx, servers, logger) })
	return group.Wait()
}

// secretHint is the command that makes a file with a secret of at least this many bytes.
func secretHint(bytes, file string) string {
	return fmt.Sprintf("(umask 077; openssl rand -hex %s > %s), or chmod 600 if it exists", bytes, file)
}

// fresh lets every request see earlier writes, also of other processes. Databases that replicate without isukit would show them late.
func (c *config) fresh(next http.Handler) http.Handler {
	if !c.replicated() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(fanout.Fresh(r.Context())))
	})
}

// openPool tries again until the databases answer, since they may start at the same time as the app.
func openPool(ctx context.Context, conf *config, logger zerolog.Logger) (*fanout.Pool, error) {
	fan := conf.fanout()
	fan.OnEject = func(replica, reason string) {
		logger.Error().Str("replica", replica).Str("reason", reason).Msg("replica ejected")
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for said := ""; ; {
		pool, err := fanout.Open(ctx, fan)
		if err == nil {
			return pool, nil
		}
		if text := err.Error(); text != said { // each reason once
			logger.Warn().Dur("after", time.Since(begin)).Msg("the databases are not ready: " + text)
			said = text
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func newServer(address string, handler http.Handler, logger zerolog.Logger) *http.Server {
	return &http.Server{
		Addr: address, Handler: handler,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 90 * time.Second,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       log.New(logger, "", 0),
	}
}

// serveAll listens on all addresses before it serves any, so that an address in use is reported immediately. It serves until ctx ends.
func serveAll(ctx context.Context, servers []*http.Server, logger zerolog.Logger) error {
	var listeners []net.Listener
	for _, s := range servers {
		l, err := listen(ctx, s.Addr)
		if err != nil {
			for _, open := range listeners {
				_ = open.Close() // the first error is the one that matters
			}
			return err
		}
		listeners = append(listeners, l)
	}
	group, ctx := errgroup.WithContext(ctx)
	for i, s := range servers {
		logger.Info().Str("listen", listeners[i].Addr().String()).Msg("serving")
		group.Go(func() error {
			if err := s.Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		group.Go(func() error {
			<-ctx.Done()
			return stop(s)
		})
	}
	return group.Wait()
}

// unixPrefix is before the path of a Unix socket where otherwise an address is.
const unixPrefix = "unix:"

func listen(ctx context.Context, address string) (net.Listener, error) {
	path, isSocket := strings.CutPrefix(address, unixPrefix)
	if !isSocket {
		return new(net.ListenConfig).Listen(ctx, "tcp", address)
	}
	if err := clearSocket(ctx, path); err != nil {
		return nil, err
	}
	return new(net.ListenConfig).Listen(ctx, "unix", path)
}

// clearSocket removes the socket of a killed process; never a file of another kind, nor a socket in use.
func clearSocket(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return &usageError{fmt.Errorf("socket: %s exists and is not a socket", path), "give the path of a file that isukit-app may create"}
	}
	if conn, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		_ = conn.Close() // nothing was written to it
		return &net.OpError{Op: "listen", Net: "unix", Addr: &net.UnixAddr{Name: path, Net: "unix"}, Err: syscall.EADDRINUSE}
	}
	return os.Remove(path)
}

// stop waits for the requests under way, but not for ever.
func stop(s *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		_ = s.Close() // Shutdown's error names the requests that were cut off
		return fmt.Errorf("stop %s: %w", s.Addr, err)
	}
	return nil
}

func debugHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
