package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"
	googleproto "google.golang.org/protobuf/proto"

	"isukit/bench/result"
	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
	"isukit/proto/decode"
)

// TestCaptureTruth compares what isukit reads of real traffic with what was sent, and with what tshark reads.
func TestCaptureTruth(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	tests := []struct {
		name    string
		version uint16 // of TLS; 0 is plain
		packed  bool
	}{
		{"plain", 0, false}, {"plain, gzip", 0, true}, {"TLS 1.2, gzip", tls.VersionTLS12, true}, {"TLS 1.3, gzip", tls.VersionTLS13, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var file, keylog string
			var config *tls.Config
			if tt.version != 0 {
				keylog = filepath.Join(t.TempDir(), "keys.log")
				keys, err := os.Create(keylog)
				if err != nil {
					t.Fatal(err)
				}
				defer keys.Close()
				config = &tls.Config{InsecureSkipVerify: true, MaxVersion: tt.version, KeyLogWriter: keys}
			}
			var port string
			sent := traffic(t, 800, config, tt.packed, func(p string, run func()) { port, file = p, dumpcap(t, p, run) })
			sortSent(sent)
			ours := readOurs(t, file, keylog)
			if diff := gocmp.Diff(sent, ours); diff != "" {
				t.Errorf("isukit and the sender (-sent +isukit):\n%.3000s", diff)
			}
			theirs := readTshark(t, file, keylog, port)
			if diff := gocmp.Diff(theirs, ours); diff != "" {
				t.Errorf("isukit and tshark (-tshark +isukit):\n%.3000s", diff)
			}
		})
	}
}

func sortSent(all []sentExchange) {
	slices.SortFunc(all, func(a, b sentExchange) int {
		return cmp.Or(strings.Compare(a.URI, b.URI), strings.Compare(a.Method, b.Method), cmp.Compare(a.Status, b.Status),
			strings.Compare(a.Req, b.Req), strings.Compare(a.Resp, b.Resp))
	})
}

// ofDoctor tells the requests of an isukit doctor that another test runs meanwhile: it asks whatever listens on this machine for profiles.
func ofDoctor(uri string) bool { return strings.HasSuffix(uri, "/debug/pprof/") }

// captureJSONL runs isukit capture --jsonl.
func captureJSONL(t testing.TB, file, keylog string) []exchange.ExchangeJSON {
	t.Helper()
	var out, errs bytes.Buffer
	o := captureOptions{file: file, keylog: keylog, PrintOptions: exchange.PrintOptions{Jsonl: true}}
	if _, err := runCapture(context.Background(), o, streams{nil, &out, &errs}); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	var all []exchange.ExchangeJSON
	for line := range strings.Lines(out.String()) {
		var e exchange.ExchangeJSON
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		all = append(all, e)
	}
	return all
}

func readOurs(t testing.TB, file, keylog string) []sentExchange {
	t.Helper()
	var all []sentExchange
	for _, e := range captureJSONL(t, file, keylog) {
		if ofDoctor(e.URL) {
			continue
		}
		if len(e.Incomplete)+len(e.Faults) > 0 {
			t.Errorf("%s %s: %v %v", e.Method, e.URL, e.Incomplete, e.Faults)
		}
		_, uri, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(e.URL, "http://"), "https://"), "/")
		all = append(all, sentExchange{e.Method, "/" + uri, e.Status, e.ReqSHA256, e.RespSHA256})
	}
	sortSent(all)
	return all
}

// readTshark reads requests and responses with tshark, and joins them by the frame that it says a response answers.
func readTshark(t testing.TB, file, keylog, port string) []sentExchange {
	t.Helper()
	args := []string{"-r", file, "-Y", "http", "-T", "fields", "-E", "separator=;", "-d", "tcp.port==" + port + ",http"}
	if keylog != "" {
		args = []string{"-r", file, "-Y", "http", "-T", "fields", "-E", "separator=;", "-d", "tcp.port==" + port + ",tls", "-o", "tls.keylog_file:" + keylog,
			"-o", "http.tls.port:" + port}
	}
	for _, field := range []string{"frame.number", "http.request.method", "http.request.uri", "http.response.code", "http.request_in", "media.type"} {
		args = append(args, "-e", field)
	}
	cmd := exec.Command("tshark", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark is needed (Debian package tshark): %v\n%s", err, errs.String())
	}
	requests := map[string]sentExchange{}
	var all []sentExchange
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ";")
		body, err := hex.DecodeString(strings.ReplaceAll(f[5], ":", ""))
		if err != nil || len(f) != 6 {
			t.Fatalf("tshark: %v in %.200s", err, line)
		}
		if f[3] == "" {
			requests[f[0]] = sentExchange{Method: f[1], URI: f[2], Req: hashOf(body)}
			continue
		}
		e := requests[f[4]]
		if ofDoctor(e.URI) {
			continue
		}
		e.Status, _ = strconv.Atoi(f[3])
		e.Resp = hashOf(body)
		all = append(all, e)
	}
	sortSent(all)
	return all
}

// TestCaptureTruthRound compares what isukit and tshark read of a whole round, validation's hostile requests included. The
// round runs in a network namespace, where nothing else is on the loopback interface.
func TestCaptureTruthRound(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	binary, inside := apart(t)
	if !inside {
		return
	}
	file := dumpcap(t, "", func() {
		cmd := exec.Command(binary, "round", "-q", "--scale", "small", "--duration", "3s", "--users", "6",
			"--results", t.TempDir(), "--state-dir", testStateDir(t))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("isukit round: %v\n%s", err, out)
		}
	})
	ours := ofARound(captureJSONL(t, file, ""))
	theirs := readTshark(t, file, "", "1")
	if len(ours) < 150 {
		t.Errorf("%d exchanges are too few for a round", len(ours))
	}
	t.Logf("%d exchanges", len(ours))
	if diff := gocmp.Diff(theirs, ours); diff != "" {
		t.Errorf("isukit and tshark (-tshark +isukit):\n%.3000s", diff)
	}
}

// ofARound is what tshark can show of a round's exchanges, too: it gives bytes for bodies without a dissector, but not for JSON and CSS.
func ofARound(exchanges []exchange.ExchangeJSON) []sentExchange {
	var all []sentExchange
	for _, e := range exchanges {
		_, uri, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(e.URL, "http://"), "https://"), "/")
		sent := sentExchange{e.Method, "/" + uri, e.Status, e.ReqSHA256, e.RespSHA256}
		if e.ReqType == "" && e.Status != 413 { // a body that is too large is not a message, but is protobuf by its content type
			sent.Req = hashOf(nil)
		}
		if e.RespType == "" {
			sent.Resp = hashOf(nil)
		}
		all = append(all, sent)
	}
	sortSent(all)
	return all
}

// TestCaptureTruthTLSRound has a round of a topology whose proxy speaks TLS write its traffic and its keys, and compares what
// isukit and tshark read of them.
func TestCaptureTruthTLSRound(t *testing.T) {
	t.Parallel()
	dir, state := t.TempDir(), testStateDir(t)
	args := append(smallRound(t, infratest.Engines(t)[0], "2s"), "-t", "nginx-tls", "--users", "6", "--capture", "round.pcap", "--keylog", "keys.log", "-q", "--json")
	out, err := isukitCommand(t, dir, state, args...).Output()
	var r result.Round
	if jsonErr := json.Unmarshal(out, &r); err != nil || jsonErr != nil || !r.Passed {
		t.Fatalf("isukit round: %v, %v\n%.2000s", err, jsonErr, out)
	}
	file, keylog := filepath.Join(dir, "round.pcap"), filepath.Join(dir, "keys.log")
	exchanges := captureJSONL(t, file, keylog)
	if int64(len(exchanges)) < r.All.Hits {
		t.Fatalf("%d exchanges were read, the load alone had %d", len(exchanges), r.All.Hits)
	}
	port := ""
	for _, e := range exchanges {
		if e.TLS == "" || len(e.Incomplete) > 0 { // faults are those of validation's hostile requests
			t.Errorf("%s %s: %q %v", e.Method, e.URL, e.TLS, e.Incomplete)
		}
		_, port, _ = strings.Cut(e.Server, ":")
	}
	if diff := gocmp.Diff(readTshark(t, file, keylog, port), ofARound(exchanges)); diff != "" {
		t.Errorf("isukit and tshark (-tshark +isukit):\n%.3000s", diff)
	}
	t.Logf("%d exchanges", len(exchanges))
	code, _, errOut := labRun(t, state, append(smallRound(t, "auto", "1s"), "--keylog", filepath.Join(dir, "other.log"))...)
	if code != ui.ExitUsage || !strings.Contains(errOut, "speaks TLS") {
		t.Errorf("a key log without TLS: code %d, %q", code, errOut)
	}
}

// TestDecodeTruth compares text and JSON with protoc's, both ways, for bodies of every type.
func TestDecodeTruth(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	schema, err := exchange.PortalSchema()
	if err != nil {
		t.Fatal(err)
	}
	for _, md := range schema.Types() {
		t.Run(string(md.Name()), func(t *testing.T) {
			for seed := range uint64(4) {
				data, err := randomMessage(schema, md.FullName(), rand.New(rand.NewPCG(seed, 5)))
				if err != nil {
					t.Fatal(err)
				}
				body := new(decode.Schema).Decode(md, data, decode.DefaultLimits())
				mt, err := schema.FindMessageByName(md.FullName())
				if err != nil {
					t.Fatal(err)
				}
				theirs := mt.New().Interface()
				if err := prototext.Unmarshal(protoc(t, "--decode="+string(md.FullName()), data), theirs); err != nil {
					t.Fatal(err)
				}
				if !googleproto.Equal(theirs, body.Message.Interface()) {
					t.Errorf("%x: protoc reads %v, isukit %v", data, theirs, body.Message)
				}
				// What isukit prints, protoc reads as the same message.
				back := mt.New().Interface()
				if err := googleproto.Unmarshal(protoc(t, "--encode="+string(md.FullName()), []byte(decode.Text(body.Message))), back); err != nil {
					t.Fatal(err)
				}
				if !googleproto.Equal(back, theirs) {
					t.Errorf("%x: protoc reads isukit's text as %v, want %v", data, back, theirs)
				}
			}
		})
	}
}

func protoc(t *testing.T, mode string, input []byte) []byte {
	t.Helper()
	root := filepath.Join(infratest.Root(t), "proto")
	files, err := filepath.Glob(filepath.Join(root, "portal", "v1", "*.proto"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("protoc", append([]string{mode, "-I", root}, files...)...)
	cmd.Stdin = bytes.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("protoc is needed (Debian package protobuf-compiler): %v\n%s", err, errs.String())
	}
	return out
}
