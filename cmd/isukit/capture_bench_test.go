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

// BenchmarkCapture reads 10,000 exchanges of real traffic with isukit and with tshark, both decoding every body by its
// type, in turns. It reports how many times as long tshark takes: "cpu-ratio" by CPU time, which other work on the machine
// hardly changes, and "wall-ratio" by the clock. Each is the median of five turns.
func BenchmarkCapture(b *testing.B) {
	if os.Getenv("ISUKIT_TEST_REAL") == "" {
		b.Skip("needs tshark and dumpcap: set ISUKIT_TEST_REAL=1")
	}
	binary := filepath.Join(b.TempDir(), "isukit")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	root := infratest.Root(b)
	for _, secure := range []bool{false, true} {
		name := "plain"
		if secure {
			name = "tls13-gzip"
		}
		b.Run(name, func(b *testing.B) {
			file, keys, port := benchTraffic(b, secure)
			ours := []string{binary, "capture", "--bodies", file}
			theirs := []string{"tshark", "-r", file, "-X", "lua_script:testdata/portal.lua", "-Y", "http", "-O", "http,protobuf",
				"-o", `uat:protobuf_search_paths:"` + filepath.Join(root, "proto") + `","TRUE"`}
			if secure {
				ours = append(ours, "--keylog", keys)
				theirs = append(theirs, "-d", "tcp.port=="+port+",tls", "-o", "http.tls.port:"+port, "-o", "tls.keylog_file:"+keys)
			} else {
				theirs = append(theirs, "-d", "tcp.port=="+port+",http")
			}
			for b.Loop() {
				var cpu, wall []float64
				for range 5 {
					ourCPU, ourWall := timeCommand(b, "200 ", ours)
					theirCPU, theirWall := timeCommand(b, "Protocol Buffers: portal.v1", theirs)
					cpu = append(cpu, theirCPU.Seconds()/ourCPU.Seconds())
					wall = append(wall, theirWall.Seconds()/ourWall.Seconds())
				}
				slices.Sort(cpu)
				slices.Sort(wall)
				b.ReportMetric(cpu[2], "cpu-ratio")
				b.ReportMetric(wall[2], "wall-ratio")
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
