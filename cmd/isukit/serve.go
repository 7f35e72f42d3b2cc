package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"isukit/bench/diff"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

func newServeCmd(s streams) *cobra.Command {
	var dir, listen, token string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Show all rounds, live progress and differences in the browser",
		Long: `Show all rounds in the browser, what a running round does, and what differs between two. It listens on this machine alone;
bound to another address it wants a token, which is part of the address that it prints (or give one with --token or ISUKIT_TOKEN).`,
		Example: "  isukit serve\n  isukit serve --listen 0.0.0.0:8090",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runServe(cmd.Context(), dir, listen, token, s)
		},
	}
	resultsFlag(cmd.Flags(), &dir)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8090", "address and port; port 0 takes a free one")
	cmd.Flags().StringVar(&token, "token", "", "what a browser must know when the address is not of this machine alone")
	return cmd
}

func runServe(ctx context.Context, dir, listen, token string, s streams) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return ui.UsageError(err, "choose another address with --listen, such as 127.0.0.1:8090")
	}
	h := &roundServer{dir: dir, local: isLoopback(l.Addr())}
	address := "http://" + l.Addr().String() + "/"
	if !h.local || token != "" {
		if token == "" {
			token = newToken()
		}
		if len(token) < 12 {
			return errors.Join(ui.UsageError(errors.New("the token has fewer than 12 characters"), "leave it away for a random one"), l.Close())
		}
		h.token = token
		address += "?token=" + token
	}
	fmt.Fprintf(s.err, "isukit: rounds of %s: %s\n", dir, address)
	server := &http.Server{Handler: h.handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-gctx.Done()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		return server.Shutdown(limited)
	})
	return g.Wait()
}

func newToken() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func isLoopback(addr net.Addr) bool {
	a, err := netip.ParseAddrPort(addr.String())
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// roundServer serves the rounds of one directory. It only reads.
type roundServer struct {
	dir   string
	local bool   // it listens on the loopback alone
	token string // "" asks for none
}

// tokenCookie holds the token after the first visit, so that it need not stand in addresses.
const tokenCookie = "isukit_token"

func (h *roundServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.index)
	mux.HandleFunc("GET /diff", h.diff)
	mux.HandleFunc("GET /live", h.live)
	mux.HandleFunc("GET /rounds/{id}/{path...}", h.file)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header().Set("Cache-Control", "no-store")
		if h.local && !isLocalName(r.Host) {
			// A page from elsewhere whose name was pointed at this machine must not read it.
			http.Error(w, "this address is for this machine alone", http.StatusForbidden)
			return
		}
		if h.token != "" && !h.known(w, r) {
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func isLocalName(hostPort string) bool {
	host := hostPort
	if h, _, err := net.SplitHostPort(hostPort); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// known lets those through who know the token. One who brings it in the address gets a cookie and the address without it.
func (h *roundServer) known(w http.ResponseWriter, r *http.Request) bool {
	same := func(given string) bool { return subtle.ConstantTimeCompare([]byte(given), []byte(h.token)) == 1 }
	if c, err := r.Cookie(tokenCookie); err == nil && same(c.Value) {
		return true
	}
	if !same(r.URL.Query().Get("token")) {
		http.Error(w, "this needs the token that isukit serve has printed", http.StatusUnauthorized)
		return false
	}
	http.SetCookie(w, &http.Cookie{Name: tokenCookie, Value: h.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
	return false
}

func (h *roundServer) page(w http.ResponseWriter, write func(*bytes.Buffer) error) {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", report.SitePolicy())
	_, _ = b.WriteTo(w)
}

func (h *roundServer) index(w http.ResponseWriter, _ *http.Request) {
	entries, err := result.List(h.dir)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.page(w, func(b *bytes.Buffer) error { return report.Index(b, entries) })
}

func (h *roundServer) diff(w http.ResponseWriter, r *http.Request) {
	var rounds [2]*result.Round
	for i, key := range []string{"a", "b"} {
		found, status := h.round(r.URL.Query().Get(key))
		if found == nil {
			http.Error(w, "no such round", status)
			return
		}
		rounds[i] = found
	}
	h.page(w, func(b *bytes.Buffer) error { return report.DiffHTML(b, diff.Of(rounds[0], rounds[1])) })
}

// round finds a round by its id, or as show does; never by a path.
func (h *roundServer) round(id string) (*result.Round, int) {
	if id == "" || strings.ContainsAny(id, "/\\") || strings.HasPrefix(id, ".") {
		return nil, http.StatusNotFound
	}
	r, _, err := result.Find(h.dir, id)
	if errors.Is(err, result.ErrNoRound) {
		return nil, http.StatusNotFound
	}
	if err != nil {
		return nil, http.StatusInternalServerError
	}
	return r, http.StatusOK
}

func (h *roundServer) live(w http.ResponseWriter, _ *http.Request) {
	path := filepath.Join(h.dir, round.LiveFile)
	text, err := ui.ReadRegular(path, 1<<20)
	st, statErr := os.Stat(path)
	// A round that was killed leaves the file behind.
	if err != nil || statErr != nil || time.Since(st.ModTime()) > time.Minute {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

// file serves what a round's record lists, and the record. Only the page is shown as one; all else is text or is saved.
func (h *roundServer) file(w http.ResponseWriter, r *http.Request) {
	id, path := r.PathValue("id"), r.PathValue("path")
	round, status := h.round(id)
	if round == nil || round.ID != id {
		http.Error(w, "no such round", max(status, http.StatusNotFound))
		return
	}
	listed := path == result.RoundFile || slices.ContainsFunc(round.Artifacts, func(a result.Artifact) bool { return a.Path == path })
	if !listed || !filepath.IsLocal(path) {
		http.Error(w, "the round has no such file", http.StatusNotFound)
		return
	}
	switch filepath.Ext(path) {
	case ".html":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
	case ".log", ".txt", ".diff":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	case ".json":
		w.Header().Set("Content-Type", "application/json")
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "attachment")
	}
	f, err := os.Open(filepath.Join(h.dir, id, filepath.FromSlash(path)))
	if err != nil {
		http.Error(w, "the file cannot be read", http.StatusNotFound)
		return
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		http.Error(w, "the file cannot be read", http.StatusNotFound)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, f)
}
