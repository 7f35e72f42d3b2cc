package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isukit/cmd/internal/ui"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestCaptureCommand shows a stored capture of real traffic in every form, and chooses from it.
func TestCaptureCommand(t *testing.T) {
	seeds := filepath.Join("..", "..", "proto", "capture", "testdata")
	tests := []struct {
		name string
		args []string
	}{
		{"lines", []string{"plain.pcap"}},
		{"bodies", []string{"--bodies", "--path", "/api/jobs,/api/teams/{id}/*", "plain.pcap"}},
		{"jsonl", []string{"--jsonl", "--method", "PUT", "--keylog", filepath.Join(seeds, "tls13.keys"), "tls13.pcap"}},
		{"errors", []string{"--status", "4xx", "--keylog", filepath.Join(seeds, "tls12.keys"), "tls12.pcap"}},
		{"where", []string{"--where", "invite_token=emoji 👩\u200d💻", "plain.pcap"}},
		{"no-key", []string{"tls12.pcap"}},
		{"embedded-keys", []string{"--only-type", "SignupRequest", "tls13-keys.pcapng"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"capture"}, tt.args...)
			args[len(args)-1] = filepath.Join(seeds, args[len(args)-1])
			out, errs, code := cli(t, "", args...)
			if code != 0 {
				t.Fatalf("capture %q: exit %d, %s", tt.args, code, errs)
			}
			checkGolden(t, filepath.Join("testdata", "capture", tt.name+".txt"), out+errs)
		})
	}
}

// TestCaptureCommandShowsNothing filters out all of a capture: a note must explain it, since silence looks like a broken capture.
func TestCaptureCommandShowsNothing(t *testing.T) {
	plain := filepath.Join("..", "..", "proto", "capture", "testdata", "plain.pcap")
	tests := []struct {
		args []string
		errs string
	}{
		{[]string{"--where", "name=nobody"}, "none of 16 exchanges matches"},
		{[]string{"--path", "/nowhere"}, "none of 16 exchanges matches"},
		{[]string{"--filter", "port 1"}, `none of 79 packets matches --filter "port 1"`},
	}
	for _, tt := range tests {
		args := append([]string{"capture", plain}, tt.args...)
		if out, errs, code := cli(t, "", args...); code != 0 || out != "" || !strings.Contains(errs, tt.errs) {
			t.Errorf("%q: got exit %d, %q and %q, want exit 0 and %q", tt.args, code, out, errs, tt.errs)
		}
	}
	if out, _, code := cli(t, "", "routes", "PUT", "/api/teams/12"); code != 0 || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "PUT") {
		t.Errorf("routes of a method: got exit %d, %q", code, out)
	}
}

// TestMalformedEntryOfHAR: the rest is shown, the entry has its error, and the exit code is 3.
func TestMalformedEntryOfHAR(t *testing.T) {
	const har = `{"log":{"entries":[{"startedDateTime":"2026-11-30T10:00:00+0900","request":{"method":"GET","url":"https://a.example/one"},"response":{"status":"200"}},
		{"startedDateTime":%s,"request":{"method":"GET","url":"https://a.example/two"},"response":{"status":200}}]}}`
	file := filepath.Join(t.TempDir(), "x.har")
	for start, want := range map[string]struct {
		code int
		text string
	}{
		`"2026-11-30T10:00:00Z"`: {ui.ExitOK, ""}, `"2026-11-30T10:00:00"`: {ui.ExitRound, "has no zone"}, `"yesterday"`: {ui.ExitRound, "is not a time"}, `{}`: {ui.ExitRound, "is not"},
	} {
		write(t, file, fmt.Sprintf(har, start))
		for _, form := range []string{"--bodies", "--json"} {
			if out, errs, code := cli(t, "", "capture", form, file); code != want.code || !strings.Contains(out, "/one") || !strings.Contains(out, "/two") || !strings.Contains(out, want.text) {
				t.Errorf("%s %s: exit %d, want %d and %q\n%s%s", form, start, code, want.code, want.text, out, errs)
			}
		}
	}
}

func TestCaptureCommandRefuses(t *testing.T) {
	plain := filepath.Join("..", "..", "proto", "capture", "testdata", "plain.pcap")
	tests := []struct {
		args []string
		errs string
	}{
		{[]string{"capture"}, "0 files are named"}, {[]string{"capture", "none.pcap"}, "no such file"},
		{[]string{"capture", "capture_test.go"}, "formats are pcap, pcapng and HAR"}, {[]string{"capture", "--status", "x", plain}, `"x" is not a status`},
		{[]string{"capture", "--where", "x", plain}, `has no "="`}, {[]string{"capture", "--bodies", "--jsonl", plain}, "cannot be combined"},
		{[]string{"capture", "--keylog", plain, plain}, "contains no keys"}, {[]string{"capture", "--filter", "udp", plain}, `"udp" is not`},
		{[]string{"capture", "--netns", "x", plain}, "applies only with --live"}, {[]string{"capture", "."}, ". is a directory"},
		{[]string{"capture", "--only-type", "Nope", plain}, "type Nope is not in the schema"}, {[]string{"routes", "DELETE", "/api/contest"}, "no route matches"}, {[]string{"replay", plain}, "not a server URL"},
		{[]string{"replay", plain, "--to", "ftp://x"}, "not a server URL"}, {[]string{"send", "--to", "ftp://x", "/api/session"}, "not a server URL"},
	}
	for _, tt := range tests {
		if _, errs, code := cli(t, "", tt.args...); code != ui.ExitUsage || !strings.Contains(errs, tt.errs) {
			t.Errorf("%q: got exit %d, %q, want exit %d and %q", tt.args, code, errs, ui.ExitUsage, tt.errs)
		}
	}
}

func checkGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// TestReplayToNobody sends to a port without a listener: the reason is printed once, not for each request.
func TestReplayToNobody(t *testing.T) {
	plain := filepath.Join("..", "..", "proto", "capture", "testdata", "plain.pcap")
	out, errs, code := cli(t, "", "replay", plain, "--to", "127.0.0.1:1")
	if code != ui.ExitFailed || !strings.Contains(errs, "the first 10 requests failed") || strings.Count(out, "connection refused") != 10 {
		t.Errorf("got exit %d, %q and %q", code, out, errs)
	}
	if _, errs, code := cli(t, "", "replay", plain, "--to", "127.0.0.1:1", "--path", "/nowhere"); code != 0 || !strings.Contains(errs, "nothing was sent") {
		t.Errorf("nothing to send: got exit %d, %q", code, errs)
	}
}
