package observe

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/profile"
	"isukit/infra/project"
)

// Recorded is one profile.
type Recorded struct {
	Host, Name string
	// Raw is the profile as it came, for go tool pprof or perf script's readers; File is a name for it.
	Raw    []byte
	File   string
	Stacks *profile.Stacks
}

const defaultSeconds = 20

// App is an app whose profiles are recorded.
type App struct {
	project.Pprof
	// Name is what it is called; "" is its address.
	Name string
	// Client asks it from here; nil has the host ask: a far one by a connection that it forwards, so it needs no program for that.
	Client *http.Client
}

// Pprof records the profiles of net/http/pprof. ctx ends with the load; heap and the like are taken in the middle of it.
func Pprof(ctx context.Context, at host.Host, p App) ([]Recorded, error) {
	seconds := p.Seconds
	if seconds == 0 {
		seconds = defaultSeconds
	}
	kinds := p.Kinds
	if len(kinds) == 0 {
		kinds = []string{"cpu", "heap"}
	}
	name, file := p.Name, p.Name
	if name == "" {
		name, file = p.URL, p.Host+port(p.URL)
	}
	var all []Recorded
	var errs []error
	for _, kind := range kinds {
		path := kind
		if kind == "cpu" {
			path = "profile?seconds=" + strconv.Itoa(seconds)
		}
		raw, err := p.get(ctx, at, strings.TrimRight(p.URL, "/")+"/debug/pprof/"+path, time.Duration(seconds+20)*time.Second)
		if err == nil {
			var stacks *profile.Stacks
			if stacks, err = profile.ParsePprof(raw); err == nil {
				all = append(all, Recorded{p.Host, kind + " of " + name, raw, file + "-" + kind + ".pprof", stacks})
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s profile of %s on %s: %w", kind, name, p.Host, err))
		}
	}
	return all, errors.Join(errs...)
}

// port is "-PORT" of an address, which tells apps of one host apart; "" where it has none.
func port(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Port() == "" {
		return ""
	}
	return "-" + u.Port()
}

// get fetches an address as the host sees it.
func (p App) get(ctx context.Context, at host.Host, url string, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	if p.Client != nil {
		return getHere(ctx, p.Client, url)
	}
	if at.About().Here && at.About().Kernel != host.NamespaceKernel {
		return getHere(ctx, http.DefaultClient, url)
	}
	if far, ok := at.(host.Dialer); ok {
		return getHere(ctx, &http.Client{Transport: &http.Transport{DialContext: far.Dial, DisableKeepAlives: true}}, url)
	}
	text, err := shell(ctx, at, timeout, `umask 077; t=$(mktemp) && { curl -sSf -o "$t" "$1" || wget -qO "$t" "$1"; } && echo "$t"`, url)
	if err != nil {
		return nil, err
	}
	file := strings.TrimSpace(text)
	data, err := at.Get(ctx, file)
	return data, errors.Join(err, at.Remove(ctx, file))
}

func getHere(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, host.MaxFileBytes))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return data, err
}

// Perf records all processes of a host.
func Perf(ctx context.Context, at host.Host, p project.Perf) (Recorded, error) {
	seconds := p.Seconds
	if seconds == 0 {
		seconds = defaultSeconds
	}
	sudo := ""
	if p.Sudo {
		sudo = "sudo -n "
	}
	script := `umask 077; t=$(mktemp) && ` + sudo + `perf record -q -F 99 -a -g -o "$t" -- sleep "$1" >/dev/null 2>"$t.err" || { head -n 3 "$t.err" >&2; rm -f "$t" "$t.err"; exit 1; }
` + sudo + `perf script -i "$t" -F comm,ip,sym,dso 2>/dev/null | gzip -1 > "$t.gz"; ` + sudo + `rm -f "$t" "$t.err"; echo "$t.gz"`
	// perf runs for its time, whatever becomes of the load.
	timeout := time.Duration(seconds)*time.Second + time.Minute
	text, err := shell(context.WithoutCancel(ctx), at, timeout, script, strconv.Itoa(seconds))
	if err != nil {
		return Recorded{}, fmt.Errorf("perf on %s: %w", p.Host, err)
	}
	file := strings.TrimSpace(text)
	raw, err := at.Get(ctx, file)
	if err = errors.Join(err, at.Remove(context.WithoutCancel(ctx), file)); err != nil {
		return Recorded{}, fmt.Errorf("perf on %s: %w", p.Host, err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return Recorded{}, fmt.Errorf("perf on %s: %w", p.Host, err)
	}
	stacks, err := profile.ParsePerf(unpacked)
	if err == nil && len(stacks.Stacks) == 0 {
		err = errors.New("it took no sample")
	}
	return Recorded{p.Host, "perf", raw, p.Host + "-perf.txt.gz", stacks}, err
}
