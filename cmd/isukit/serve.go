package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"isukit/bench/diff"
	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/redact"
	"isukit/input"
)

func newServeCmd(s streams) *cobra.Command {
	var dir, listen, token string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Show all rounds, live progress and differences in a browser",
		Long: `Show all rounds, the progress of a running one, and the difference between two in a browser. It listens on loopback only. On any other
address it requires a token, which is part of the printed URL (or set one with --token or ISUKIT_TOKEN). It has no TLS: on a network
that you do not trust, keep it on loopback and use "ssh -L 8090:127.0.0.1:8090 HOST".`,
		Example: "  isukit serve\n  isukit serve --listen 0.0.0.0:8090",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runServe(cmd.Context(), dir, listen, token, s)
		},
	}
	resultsFlag(cmd.Flags(), &dir)
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8090", "address and port to listen on (port 0: any free port)")
	cmd.Flags().StringVar(&token, "token", "", "access token for browsers if --listen is not a loopback address")
	return cmd
}

func runServe(ctx context.Context, dir, listen, token string, s streams) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return ui.UsageError(err, "choose another address with --listen, such as 127.0.0.1:8090")
	}
	h := newRoundServer(dir)
	address, err := netip.ParseAddrPort(l.Addr().String())
	h.local = err == nil && address.Addr().Unmap().IsLoopback()
	shown := "http://" + l.Addr().String() + "/"
	if !h.local || token != "" {
		if token == "" {
			token = rand.Text()
		}
		if len(token) < 12 {
			return errors.Join(ui.UsageError(errors.New("the token has fewer than 12 characters"), "omit --token to use a random one"), l.Close())
		}
		h.token = token
		shown += "?token=" + token
	}
	fmt.Fprintf(s.err, "isukit: rounds of %s: %s\n", dir, shown)
	server := h.server()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(&fewConns{Listener: l, free: make(chan struct{}, maxConns)}); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-gctx.Done()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if err := server.Shutdown(limited); err != nil {
			return server.Close() // who still reads is cut off
		}
		return nil
	})
	return g.Wait()
}

// roundServer serves the rounds of a directory and writes only notes. Records may be hostile, and so may requests from any page.
type roundServer struct {
	dir   string
	local bool   // it listens on the loopback alone
	token string // "" asks for none
	list  *roundList
	// patience is how long a client may take nothing, pagePatience how long it may take a large page, before which no other is made.
	patience, pagePatience time.Duration
	// busy is locked while a record is read or a page is made: one at a time, regardless of the number of requests.
	busy chan struct{}
}

func newRoundServer(dir string) *roundServer {
	return &roundServer{dir: dir, patience: 20 * time.Second, pagePatience: time.Minute, list: &roundList{dir: dir, known: map[string]listedRoundFiles{}}, busy: make(chan struct{}, 1)}
}

// tokenCookie holds the token after the first visit, so that it need not stand in addresses.
const tokenCookie = "isukit_token"

// filePolicy is for everything except isukit's own pages: it is data, and must not run or load anything.
const filePolicy = "sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (h *roundServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.index)
	mux.HandleFunc("GET /diff", h.diff)
	mux.HandleFunc("GET /live", h.live)
	mux.HandleFunc("POST /notes", h.note)
	mux.HandleFunc("GET /rounds/{id}/{path...}", h.file)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Content-Security-Policy": filePolicy, "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
			"X-DNS-Prefetch-Control": "off",
		} {
			w.Header().Set(name, value)
		}
		switch {
		case h.local && !isLocalName(r.Host):
			// A page from elsewhere whose name was pointed at this machine must not read it.
			http.Error(w, "this address is for this machine alone", http.StatusForbidden)
		case fromElsewhere(r):
			http.Error(w, "another site's page may link here, and not load anything from here", http.StatusForbidden)
		case h.token == "" || h.known(w, r):
			mux.ServeHTTP(&patientWriter{ResponseWriter: w, control: http.NewResponseController(w), patience: h.patience, until: time.Now().Add(fileTime)}, r)
		}
	})
}

// fromElsewhere reports whether a browser says that a page of another origin loads this, other than by following a link.
func fromElsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return r.Method != http.MethodGet || r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}

// note keeps a note that a page of this server sends; it is all that is ever written.
func (h *roundServer) note(w http.ResponseWriter, r *http.Request) {
	// A browser too old for Sec-Fetch-Site says by Origin whose page sends a form.
	if origin := r.Header.Get("Origin"); r.Header.Get("Sec-Fetch-Site") == "" && origin != "" && origin != "http://"+r.Host {
		http.Error(w, "another site's page may not write here", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	id, err := h.id(r.PostFormValue("round"))
	if err == nil {
		err = result.AddNote(h.dir, id, result.Note{At: time.Now().UTC(), By: r.PostFormValue("by"), Text: redact.Text(r.PostFormValue("text"))})
	}
	if err != nil {
		refuse(w, err)
		return
	}
	redirectTo(w, "/")
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
	redirectTo(w, r.URL.Path)
	return false
}

// redirectTo sends a browser to a path of this server. A path with two slashes, or what browsers take for them, would be another server's.
func redirectTo(w http.ResponseWriter, path string) {
	u := url.URL{Path: "/" + strings.TrimLeft(path, "/\\")}
	w.Header().Set("Location", u.EscapedPath())
	w.WriteHeader(http.StatusSeeOther)
}

// largePage is up to where a page that is made waits in memory for its reader while others are made.
const largePage = 4 << 20

// page makes and sends a page of isukit's own.
func (h *roundServer) page(w http.ResponseWriter, r *http.Request, policy string, write func(*bytes.Buffer) error) {
	select {
	case h.busy <- struct{}{}:
	case <-r.Context().Done():
		return
	}
	release := sync.OnceFunc(func() { <-h.busy })
	defer release()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		refuse(w, err)
		return
	}
	if b.Len() <= largePage {
		release()
	} else if patient, ok := w.(*patientWriter); ok {
		patient.until = time.Now().Add(h.pagePatience)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	_, _ = b.WriteTo(w)
}

func refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, result.ErrNoRound) {
		http.Error(w, "no such round", http.StatusNotFound)
		return
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

func (h *roundServer) index(w http.ResponseWriter, r *http.Request) {
	h.page(w, r, report.SitePolicy(), func(b *bytes.Buffer) error {
		entries, err := h.list.entries()
		if err != nil {
			return err
		}
		return report.Index(b, entries)
	})
}

func (h *roundServer) diff(w http.ResponseWriter, r *http.Request) {
	h.page(w, r, report.SitePolicy(), func(b *bytes.Buffer) error {
		var rounds [2]*result.Round
		for i, key := range []string{"a", "b"} {
			id, err := h.id(r.URL.Query().Get(key))
			if err != nil {
				return err
			}
			if rounds[i], _, err = result.Get(h.dir, id); err != nil {
				return err
			}
		}
		return report.DiffHTML(b, diff.Of(rounds[0], rounds[1]))
	})
}

// id finds a round's id as show does; never by a path.
func (h *roundServer) id(query string) (string, error) {
	if query == "" || strings.ContainsAny(query, "/\\") || strings.HasPrefix(query, ".") {
		return "", result.ErrNoRound
	}
	return result.FindID(h.dir, query)
}

func (h *roundServer) live(w http.ResponseWriter, _ *http.Request) {
	f, err := result.OpenFile(h.dir, round.LiveFile)
	if err != nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	defer f.Close()
	st, statErr := f.Stat()
	text, err := input.ReadFrom(f, round.LiveFile, 1<<20)
	// A round that was killed leaves the file behind.
	if err != nil || statErr != nil || time.Since(st.ModTime()) > time.Minute {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

// file serves a round's page, record and files. The page is made from the record: a stored page may come from another person.
func (h *roundServer) file(w http.ResponseWriter, r *http.Request) {
	query, path := r.PathValue("id"), r.PathValue("path")
	id, err := h.id(query)
	switch {
	case err != nil:
		refuse(w, err)
	case id != query:
		redirectTo(w, "/rounds/"+id+"/"+path)
	case path == round.ReportName:
		h.page(w, r, report.PagePolicy(), func(b *bytes.Buffer) error {
			record, _, err := result.Get(h.dir, id)
			if err != nil {
				return err
			}
			return report.HTML(b, record)
		})
	case path != result.RoundFile && !h.list.has(id, path):
		http.Error(w, "the round has no such file", http.StatusNotFound)
	default:
		serveFile(w, r, h.dir, id, path)
	}
}

// serveFile sends a file of a round as what it is: text to read, or data to save.
func serveFile(w http.ResponseWriter, r *http.Request, dir, id, path string) {
	f, err := result.OpenFileOf(dir, id, path)
	if err != nil {
		http.Error(w, "the file cannot be read", http.StatusNotFound)
		return
	}
	defer f.Close()
	switch filepath.Ext(path) {
	case ".log", ".txt", ".diff", ".md", ".html", ".svg":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	case ".json":
		w.Header().Set("Content-Type", "application/json")
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "attachment")
	}
	http.ServeContent(w, r, "", time.Time{}, f)
}
