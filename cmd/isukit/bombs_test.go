package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// bomb is a file that is small for what a careless reader makes of it, and the command that reads it; FILE stands for its path, DIR for its directory.
type bomb struct {
	name, file string
	fill       func(io.Writer)
	args       []string
	limitMiB   int64 // how much of such a file is read, as documented
}

// filled writes a part many times. It keeps little in memory: a child's largest resident set begins with its parent's.
func filled(begin, part string, times int, end string) func(io.Writer) {
	return func(w io.Writer) {
		b := bufio.NewWriter(w)
		_, _ = b.WriteString(begin) // errors come with Flush, here and below
		for range times {
			_, _ = b.WriteString(part)
		}
		_, _ = b.WriteString(end)
		_ = b.Flush()
	}
}

func gzipped(fill func(io.Writer)) func(io.Writer) {
	return func(w io.Writer) {
		z := gzip.NewWriter(w)
		fill(z)
		_ = z.Close()
	}
}

func bombs() []bomb {
	round, topology, tune := []string{"round", "--yes", "--project", "FILE"}, []string{"topology", "show", "FILE"}, []string{"tune", "show", "FILE"}
	access, slow, har := []string{"digest", "access", "FILE"}, []string{"digest", "queries", "FILE"}, []string{"capture", "FILE"}
	record := func(list, part string, times int) bomb {
		return bomb{"round.json " + list, "20261130T000000Z-x/round.json", filled(`{"format":1,"id":"20261130T000000Z-x","`+list+`":[`, part+",", times, part+"]}"), []string{"show", "--results", "DIR"}, 32}
	}
	zeros := filled("", strings.Repeat("\x00", 1<<20), 256, "")
	return []bomb{
		{"yaml brackets", "isukit.yaml", filled("", "[", 200_000, ""), round, 1}, {"yaml mappings", "isukit.yaml", filled("", "{a: ", 50_000, ""), round, 1},
		{"yaml list", "isukit.yaml", filled("name: [", "a,", 500_000, "a]"), round, 1}, {"yaml brackets in a topology", "t.yaml", filled("", "[", 200_000, ""), topology, 1},
		{"yaml lines in a topology", "t.yaml", filled("", "a: {b: c}\n", 90_000, ""), topology, 1}, {"tuning file", "x.conf", filled("", "a=1\n", 16_000, ""), tune, 1},
		record("timeline", "{}", 8<<20), record("warnings", `""`, 8<<20), record("endpoints", "{}", 199_000), record("faults", "{}", 8<<20),
		{"har entries", "x.har", filled(`{"log":{"entries":[`, "{},", 10<<20, "{}]}}"), har, 64}, {"har depth", "x.har", filled(`{"log":`, "[", 20<<20, ""), har, 64},
		{"gzip of zeros as a capture", "x.pcap.gz", gzipped(zeros), har, 64}, {"gzip of zeros as a log", "x.log.gz", gzipped(zeros), access, 0},
		{"access log of one line", "access.log", filled("", "x", 256<<20, ""), access, 0}, {"access log of routes", "access.log", manyRoutes, access, 0},
		{"slow log of one line", "slow.log", filled("# Time: 261014 20:26:40\nSELECT '", "x", 256<<20, ""), slow, 0},
		{"descriptor set", "x.pb", filled("", "\x0a\x00", 20<<20, ""), []string{"types", "--descriptor-set", "FILE"}, 64},
		{"proto depth", "x.proto", filled(`syntax = "proto3"; `, "message A { ", 100_000, ""), []string{"types", "--proto", "DIR"}, 8},
		{"proto of fields", "x.proto", filled(`syntax = "proto3"; message A { `, ";", 1<<20, "}"), []string{"types", "--proto", "DIR"}, 8},
		{"body", "x.bin", filled("", "\x08\x00", 16<<20, ""), []string{"decode", "--raw", "FILE"}, 64},
		{"hits of zeros", "20261130T000000Z-x/hits", zeros, []string{"hits", "--results", "DIR"}, 0},
	}
}

func manyRoutes(w io.Writer) {
	b := bufio.NewWriter(w)
	for i := range 600_000 {
		fmt.Fprintf(b, `{"time":%d,"method":"GET","uri":"/%x%x/%d","status":200,"request_time":0.01}`+"\n", 1792000000+i%60, i*2654435761, i, i)
	}
	_ = b.Flush()
}

// BenchmarkBombs holds that no file makes a command take more memory than 256 MiB beyond what is documented of its format. It prints
// the largest resident set of each.
func BenchmarkBombs(b *testing.B) {
	program := filepath.Join(b.TempDir(), "isukit")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, bomb := range bombs() {
		b.Run(strings.ReplaceAll(bomb.name, " ", "-"), func(b *testing.B) {
			dir := b.TempDir()
			file := filepath.Join(dir, bomb.file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				b.Fatal(err)
			}
			if strings.HasSuffix(bomb.file, "/hits") {
				if err := os.WriteFile(filepath.Join(filepath.Dir(file), "round.json"), []byte(`{"format":1,"id":"20261130T000000Z-x"}`), 0o644); err != nil {
					b.Fatal(err)
				}
			}
			f, err := os.Create(file)
			if err != nil {
				b.Fatal(err)
			}
			bomb.fill(f)
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
			args := strings.Split(strings.NewReplacer("FILE", file, "DIR", dir).Replace(strings.Join(bomb.args, "\n")), "\n")
			for b.Loop() {
				cmd := exec.Command(program, append(args, "--state-dir", filepath.Join(dir, "state"))...)
				_ = cmd.Run() // that it refuses is well
				usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
				if !ok {
					b.Fatal("no usage")
				}
				mib := usage.Maxrss >> 10
				b.ReportMetric(float64(mib), "MiB-resident")
				if mib > 256+bomb.limitMiB {
					b.Errorf("%d MiB, with a limit of %d for the file", mib, bomb.limitMiB)
				}
			}
		})
	}
}
