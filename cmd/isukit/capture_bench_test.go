package main

import (
	"bytes"
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"isukit/infra/infratest"
)

// BenchmarkCapture reads 10,000 exchanges of real traffic with isukit and with tshark, in turns, and reports medians of five turns. Of
// CPU time, which other work on the machine hardly changes:
//   - decoded-ratio: how many times as long tshark takes when both decode every body by its type; 5 is wanted, 4 with TLS and gzip.
//   - undecoded-ratio: the same when neither does: isukit lists exchanges of a schema with no types, tshark without protobuf.
//   - unrouted-ratio: how many times as long isukit takes when it has to learn the types of a foreign schema; at most 1.5 is wanted.
//   - decoded-wall-ratio: decoded-ratio by the clock.
func BenchmarkCapture(b *testing.B) {
	if os.Getenv("ISUKIT_TEST_REAL") == "" {
		b.Skip("needs tshark and dumpcap: set ISUKIT_TEST_REAL=1")
	}
	binary := filepath.Join(b.TempDir(), "isukit")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	proto := filepath.Join(infratest.Root(b), "proto")
	nothing := filepath.Join(b.TempDir(), "nothing.pb")
	write(b, nothing, "\x0a\x09\x0a\x07x.proto") // a set of one file without types
	for _, secure := range []bool{false, true} {
		name := "plain"
		if secure {
			name = "tls13-gzip"
		}
		b.Run(name, func(b *testing.B) {
			file, keys, port := benchTraffic(b, secure)
			ours := func(args ...string) []string { return append([]string{binary, "capture", file}, args...) }
			theirs := func(args ...string) []string {
				return append([]string{"tshark", "-r", file, "-Y", "http", "-d", "tcp.port==" + port + ",http"}, args...)
			}
			if secure {
				ours = func(args ...string) []string {
					return append([]string{binary, "capture", file, "--keylog", keys}, args...)
				}
				theirs = func(args ...string) []string {
					return append([]string{"tshark", "-r", file, "-Y", "http", "-d", "tcp.port==" + port + ",tls", "-o", "http.tls.port:" + port, "-o", "tls.keylog_file:" + keys}, args...)
				}
			}
			commands := map[string]struct {
				shows string
				args  []string
			}{
				"ours":             {"200 ", ours("--bodies")},
				"theirs":           {"Protocol Buffers: portal.v1", theirs("-X", "lua_script:testdata/portal.lua", "-O", "http,protobuf", "-o", `uat:protobuf_search_paths:"`+proto+`","TRUE"`)},
				"ours undecoded":   {"200 ", ours("--descriptor-set", nothing)},
				"theirs undecoded": {"200 ", theirs()},
				"routed":           {"Response:", ours("--bodies", "--proto", proto, "--routes", filepath.Join(proto, "routes.tsv"))},
				"unrouted":         {"Response (a guess", ours("--bodies", "--proto", proto)},
			}
			for b.Loop() {
				cpu, wall := map[string][]float64{}, map[string][]float64{}
				for range 5 {
					for name, c := range commands {
						took, clock := timeCommand(b, c.shows, c.args)
						cpu[name], wall[name] = append(cpu[name], took.Seconds()), append(wall[name], clock.Seconds())
					}
				}
				for _, all := range []map[string][]float64{cpu, wall} {
					for _, turns := range all {
						slices.Sort(turns)
					}
				}
				b.ReportMetric(cpu["theirs"][2]/cpu["ours"][2], "decoded-ratio")
				b.ReportMetric(wall["theirs"][2]/wall["ours"][2], "decoded-wall-ratio")
				b.ReportMetric(cpu["theirs undecoded"][2]/cpu["ours undecoded"][2], "undecoded-ratio")
				b.ReportMetric(cpu["unrouted"][2]/cpu["routed"][2], "unrouted-ratio")
				b.Logf("CPU seconds: %v", cpu)
			}
		})
	}
}

func benchTraffic(b *testing.B, secure bool) (file, keys, port string) {
	var config *tls.Config
	if secure {
		keys = filepath.Join(b.TempDir(), "keys.log")
		f, err := os.Create(keys)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		config = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, KeyLogWriter: f}
	}
	traffic(b, 10_000, config, secure, func(p string, run func()) { port, file = p, dumpcap(b, p, run) })
	return file, keys, port
}

// timeCommand runs a command, checks that its output has what shows that it worked, and returns what it took.
func timeCommand(b *testing.B, shows string, args []string) (cpu, wall time.Duration) {
	b.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PORTAL_ROUTES="+filepath.Join(infratest.Root(b), "proto", "routes.tsv"))
	var out bytes.Buffer
	cmd.Stdout = &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v", args[0], err)
	}
	wall = time.Since(began)
	if bytes.Count(out.Bytes(), []byte(shows)) < 5000 {
		b.Fatalf("%s shows %q less than 5000 times", args[0], shows)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), wall
}
