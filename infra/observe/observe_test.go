package observe_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/klauspost/compress/zstd"

	"isukit/infra/host/machine"
	"isukit/infra/observe"
	"isukit/infra/project"
	"isukit/input"
)

const printed = `@versions
kernel=6.1.0
empty=
@sysctl
net.ipv4.tcp_rmem = 4096	131072	6291456
@unit app.service
ExecStart={ path=/app ; argv[]=/app --password hunter2 --port 80 ; ignore_errors=no ; start_time=[now] }
LimitNOFILE=65536
@nginx
# configuration file /etc/nginx/nginx.conf:
http {
	log_format ltsv "time:$time_local"
		"\tstatus:$status"; # a note; with a semicolon
	log_format json escape=json '{' # of pieces
		'"t":"$time_iso8601",' # the time
		'"c":"#"}';
	log_format mine '$remote_addr ' "[$time_local] \"$request\" ${status}x";
	server { listen 80; location /a { proxy_pass http://a; proxy_set_header Authorization "Basic aHVudGVyMg=="; } }
	server { listen 81; location ~ "^/(b|c){2}" { return 404; } }
}
`

func TestParseSettings(t *testing.T) {
	got := map[string]map[string]string{}
	settings := observe.ParseSettings(printed)
	for _, s := range settings {
		got[s.Source] = s.Values
	}
	for source, want := range map[string]map[string]string{
		"versions":         {"kernel": "6.1.0"},
		"sysctl":           {"net.ipv4.tcp_rmem": "4096 131072 6291456"},
		"unit app.service": {"ExecStart": "/app --password *** --port 80", "LimitNOFILE": "65536"},
	} {
		if diff := cmp.Diff(want, got[source]); diff != "" {
			t.Errorf("%s (- want, + got):\n%s", source, diff)
		}
	}
	var all strings.Builder
	for key, value := range got["nginx"] {
		all.WriteString(key + " = " + value + "\n")
	}
	for _, want := range []string{"listen = 80", "listen = 81", "location /a/proxy_pass = http://a"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("nginx lacks %q:\n%s", want, all.String())
		}
	}
	if strings.Contains(all.String(), "aHVudGVyMg") {
		t.Errorf("a credential is kept:\n%s", all.String())
	}
	if f := observe.LogFormats(settings)["json"]; f != `{"t":"$time_iso8601","c":"#"}` {
		t.Errorf("log_format json is %q", f)
	}
	if f := observe.LogFormats(settings)["mine"]; !strings.HasPrefix(f, "$remote_addr [$time_local]") {
		t.Errorf("log_format mine is %q", f)
	}
}

// TestMarkAndFetch follows a log that is appended to, one that its server reopens, and those that another program rotates: what was
// renamed, copied and truncated, or packed meanwhile is read from the mark on.
func TestMarkAndFetch(t *testing.T) {
	h, err := machine.OpenHere(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	for name, c := range map[string]struct {
		reopen  string
		between func(file string)
		want    string
		warned  bool
	}{
		"appended": {"", func(f string) { add(t, f, "new\n") }, "new\n", false},
		"reopened": {"touch $LOG", func(f string) { add(t, f, "new\n") }, "new\n", false},
		"renamed": {"", func(f string) {
			add(t, f, "new 1\n")
			rename(t, f, f+".1")
			add(t, f, "new 2\n")
		}, "new 1\nnew 2\n", false},
		"renamed twice": {"", func(f string) {
			add(t, f, "new 1\n")
			rename(t, f, f+".2")
			add(t, f+".1", "new 2\n")
			add(t, f, "new 3\n")
		}, "new 1\nnew 2\nnew 3\n", false},
		"copied and truncated": {"", func(f string) {
			add(t, f, "new 1\n")
			add(t, f+".1", "old\nnew 1\n")
			truncate(t, f)
			add(t, f, "new 2, beyond the old end\n")
		}, "new 1\nnew 2, beyond the old end\n", false},
		"copied, truncated and packed": {"", func(f string) {
			add(t, f, "new 1\n")
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			fmt.Fprint(z, "old\nnew 1\n")
			z.Close()
			add(t, f+".1.gz", packed.String())
			truncate(t, f)
			add(t, f, "new 2\n")
		}, "new 1\nnew 2\n", false},
		"copied and truncated twice": {"", func(f string) {
			add(t, f+".2", "old\nnew 1\n")
			add(t, f+".1", "new 2\n")
			truncate(t, f)
			add(t, f, "new 3\n")
		}, "new 1\nnew 2\nnew 3\n", false},
		"copied, truncated and packed under dates": {"", func(f string) {
			packed, _ := zstd.NewWriter(nil)
			add(t, f+"-20261130.zst", string(packed.EncodeAll([]byte("old\nnew 1\n"), nil)))
			add(t, f+"-20261201", "new 2\n")
			truncate(t, f)
		}, "new 1\nnew 2\n", false},
		"renamed, and not made anew": {"", func(f string) {
			rename(t, f, f+".1")
			add(t, f+".1", "new\n")
		}, "new\n", false},
		"of one second, whose names are in another order, and no log": {"", func(f string) {
			add(t, f, "new 1\n")
			rename(t, f, f+".9")
			at := time.Now().Truncate(time.Second).Add(time.Second)
			for i := range 9 {
				name := fmt.Sprint(f, ".", 9-i)
				if i > 0 {
					add(t, name, fmt.Sprint("new ", i+1, "\n"))
				}
				if err := os.Chtimes(name, at, at.Add(time.Duration(i)*10*time.Millisecond)); err != nil {
					t.Fatal(err)
				}
			}
		}, "new 1\nnew 2\nnew 3\nnew 4\nnew 5\nnew 6\nnew 7\nnew 8\nnew 9\n", false},
		"truncated, and grown beyond its old end": {"", func(f string) {
			add(t, f, "lost\n")
			truncate(t, f)
			add(t, f, "new, beyond the old end\n")
		}, "new, beyond the old end\n", true},
		"removed": {"", func(f string) {
			rename(t, f, f+".gone")
			add(t, f, "new\n")
		}, "new\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "access.log")
			add(t, file, "old\n")
			l := project.Log{Host: "s1", File: file, Reopen: strings.ReplaceAll(c.reopen, "$LOG", file)}
			m, err := observe.MarkLog(t.Context(), h, l, "stamp")
			if err != nil {
				t.Fatal(err)
			}
			c.between(file)
			got, warnings, err := m.Fetch(t.Context(), h, t.TempDir())
			if err != nil || (len(warnings) > 0) != c.warned {
				t.Fatalf("%v, %q", err, warnings)
			}
			f, err := os.Open(got)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			unpacked, err := input.Unpack(f)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(unpacked)
			if err != nil || string(text) != c.want {
				t.Errorf("%q, %v; want %q", text, err, c.want)
			}
			if old, err := os.ReadFile(file + ".stamp"); c.reopen != "" && (err != nil || string(old) != "old\n") {
				t.Errorf("what was moved aside: %q, %v", old, err)
			}
		})
	}
	if _, err := observe.MarkLog(t.Context(), h, project.Log{Host: "s1", File: "/no/such.log"}, "x"); err == nil {
		t.Error("a log that is not there is marked")
	}
	ahead, err := observe.ClockAhead(t.Context(), h)
	if err != nil || ahead.Abs() > 100*time.Millisecond {
		t.Errorf("this machine's clock is ahead of itself by %v, %v", ahead, err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, file string) {
	t.Helper()
	if err := os.Truncate(file, 0); err != nil {
		t.Fatal(err)
	}
}

func add(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
