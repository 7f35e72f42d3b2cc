package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"isukit/proto/capture"
)

// bomb is a small file that costs a careless reader much, and the command that reads it; FILE is replaced by its path, DIR by its
// directory.
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
		{"har headers", "x.har", filled(`{"log":{"entries":[{"request":{"method":"GET","url":"http://a/","headers":[`, "{},", 20<<20, `{}]}}]}}`), har, 64},
		{"saved digest of routes", "x.json", filled("{\n\"lines\":1,\"routes\":[", "{},", 9<<20, "{}]}"), []string{"digest", "diff", "FILE", "FILE"}, 64},
		{"saved digest of queries", "x.json", filled("{\n\"statements\":1,\"queries\":[", "{},", 9<<20, "{}]}"), []string{"digest", "diff", "FILE", "FILE"}, 64},
		{"saved digest of few routes", "x.json", filled("{\n\"lines\":1,\"routes\":[", "{},", 79_000, "{}]}"), []string{"digest", "diff", "FILE", "FILE"}, 64},
		{"journal", "x.jsonl", filled(`{"kind":"screen","plan":{"rows":[`, "{},", 5<<20, "{}]}}\n"), []string{"screen", "resume", "FILE"}, 16},
		{"text to encode", "x.txt", filled("", "teams{}", 9<<20, ""), []string{"encode", "--type", "SearchTeamsResponse", "--file", "FILE"}, 64},
		{"few objects to encode", "x.json", filled(`{"teams":[`, "{},", 990_000, "{}]}"), []string{"encode", "--type", "SearchTeamsResponse", "--file", "FILE"}, 64},
		{"json to encode", "x.json", filled(`{"teams":[`, "{},", 20<<20, "{}]}"), []string{"encode", "--type", "SearchTeamsResponse", "--file", "FILE"}, 64},
		{"gzip of zeros as a capture", "x.pcap.gz", gzipped(zeros), har, 64}, {"gzip of zeros as a log", "x.log.gz", gzipped(zeros), access, 0},
		{"access log of one line", "access.log", filled("", "x", 256<<20, ""), access, 0}, {"access log of routes", "access.log", manyRoutes, access, 0},
		{"slow log of one line", "slow.log", filled("# Time: 261014 20:26:40\nSELECT '", "x", 256<<20, ""), slow, 0},
		{"descriptor set", "x.pb", filled("", "\x0a\x00", 20<<20, ""), []string{"types", "--descriptor-set", "FILE"}, 64},
		{"proto depth", "x.proto", filled(`syntax = "proto3"; `, "message A { ", 100_000, ""), []string{"types", "--proto", "DIR"}, 8},
		{"proto of fields", "x.proto", filled(`syntax = "proto3"; message A { `, ";", 1<<20, "}"), []string{"types", "--proto", "DIR"}, 8},
		protoBomb("enum", `enum E{`, "E%d=%[1]d;", 79_000, "}"), protoBomb("messages", "", "message M%d{}", 99_000, ""), protoBomb("services", "message M{}", "service S%d{rpc R(M)returns(M);}", 25_000, ""),
		protoBomb("reserved numbers", "message M{reserved 1", ",%d", 190_000, ";}"), protoBomb("comments", "", "/**/", 390_000, ""), protoBomb("options", "message M{", "int32 a%d=%[1]d[deprecated=true];", 13_000, "}"),
		protoBomb("values of an option", optionType+"message M{option (o)={", "a{} ", 26_000, "};}"), protoBomb("numbers in an option", optionType+"message M{option (o)={", "b:%d ", 26_000, "};}"),
		{"capture packed with zstd", "x.pcap.zst", zstdPacked(zeros), har, 64}, pcapOf("bodies in zstd", 20, packedBody("zstd")), pcapOf("bodies in br", 20, packedBody("br")), pcapOf("bodies in gzip", 20, packedBody("gzip")),
		pcapOf("bodies that do not end", 9000, sends("POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"+strings.Repeat("x", 40_000), "")), pcapOf("heads that do not end", 9000, sends("GET / HTTP/1.1\r\nX: "+strings.Repeat("x", 40_000), "")),
		pcapOf("requests without answers", 60, sends(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 20_000), "")), pcapOf("chunks of one byte", 20, sends("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1\r\nx\r\n", 200_000))),
		pcapOf("connections", 60_000, sends("x", "y")), pcapOf("answers of no size", 40, sends(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 20_000), strings.Repeat("HTTP/1.1 204 N\r\n\r\n", 20_000))),
		{"proto in many files", "a/0.proto", manyProtos, []string{"types", "--proto", "DIR"}, 64},
		{"body", "x.bin", filled("", "\x08\x00", 16<<20, ""), []string{"decode", "--raw", "FILE"}, 64},
		{"hits of zeros", "20261130T000000Z-x/hits", zeros, []string{"hits", "--results", "DIR"}, 0},
	}
}

// pcapOf is a capture of as many connections; exchange gives what each end sends, which is read as long as more than --bodies shows.
func pcapOf(name string, connections int, exchange func() (request, response string)) bomb {
	fill := func(w io.Writer) {
		b := bufio.NewWriter(w)
		rec, err := capture.NewRecorder(b)
		request, response := exchange()
		for i := 0; err == nil && i < connections; i++ {
			var c net.Conn
			if c, err = rec.Conn(&toldConn{Reader: strings.NewReader(response), port: i}); err == nil {
				_, _ = io.WriteString(c, request)
				_, _ = io.Copy(io.Discard, c)
			}
		}
		if err := errors.Join(err, rec.Flush(), b.Flush()); err != nil {
			panic(err)
		}
	}
	return bomb{"pcap of " + name, "x.pcap", fill, []string{"capture", "--bodies", "FILE"}, 256 + 128} // under way, and waiting for missing bytes
}

// toldConn is a connection that records the bytes written to it.
type toldConn struct {
	io.Reader
	net.Conn
	port int
}

func (c *toldConn) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
func (c *toldConn) Write(b []byte) (int, error) { return len(b), nil }
func (c *toldConn) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80} }
func (c *toldConn) LocalAddr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(10, 1, 0, byte(c.port/50_000)), Port: 1024 + c.port%50_000}
}

func sends(request, response string) func() (string, string) {
	return func() (string, string) { return request, response }
}

// packedBody is an answer of 512 MiB of zeros in an encoding.
func packedBody(encoding string) func() (string, string) {
	return func() (string, string) {
		var b bytes.Buffer
		zeros := filled("", strings.Repeat("\x00", 1<<20), 512, "")
		switch encoding {
		case "gzip":
			gzipped(zeros)(&b)
		case "zstd":
			zstdPacked(zeros)(&b)
		case "br":
			z := brotli.NewWriterLevel(&b, 4)
			zeros(z)
			_ = z.Close()
		}
		return "GET / HTTP/1.1\r\nHost: a\r\n\r\n", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", encoding, b.Len(), b.String())
	}
}

func zstdPacked(fill func(io.Writer)) func(io.Writer) {
	return func(w io.Writer) {
		z, err := zstd.NewWriter(w)
		if err != nil {
			panic(err)
		}
		fill(z)
		_ = z.Close()
	}
}

// manyProtos are a hundred files next to the full one, which together have far more parts than are read.
func manyProtos(w io.Writer) {
	f, ok := w.(*os.File)
	if !ok {
		panic("no file")
	}
	for i := range 100 {
		var b bytes.Buffer
		protoBomb("", fmt.Sprintf("package p%d; enum E{", i), "E%d=%[1]d;", 90_000, "}").fill(&b)
		if err := os.WriteFile(filepath.Join(filepath.Dir(f.Name()), fmt.Sprintf("%d.proto", i)), b.Bytes(), 0o600); err != nil {
			panic(err)
		}
	}
}

// optionType is an option whose value is made of parts.
const optionType = `import "google/protobuf/descriptor.proto";message O{repeated O a=1;repeated int32 b=2;} extend google.protobuf.MessageOptions{O o=50000;} `

// protoBomb is a .proto file of as many parts as are read, in which one part comes many times, with its number.
func protoBomb(name, begin, part string, times int, end string) bomb {
	fill := func(w io.Writer) {
		b := bufio.NewWriter(w)
		fmt.Fprint(b, `syntax="proto3"; `, begin)
		for i := range times {
			if strings.Contains(part, "%") {
				fmt.Fprintf(b, part, i+1)
			} else {
				fmt.Fprint(b, part)
			}
		}
		fmt.Fprint(b, end)
		_ = b.Flush()
	}
	return bomb{"proto of " + name, "x.proto", fill, []string{"types", "--proto", "DIR"}, 8}
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
