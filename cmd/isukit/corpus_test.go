package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/cmd/internal/exchange"
	"isukit/cmd/internal/ui"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

var (
	shapesDir = filepath.Join("..", "..", "proto", "capture", "testdata", "shapes")
	corpusDir = filepath.Join("..", "..", "proto", "decode", "testdata", "corpus")
)

// corpusTruth is one exchange of a capture of proto/capture/testdata/shapes, as its sender wrote it down.
type corpusTruth struct {
	Method, Path      string
	Req, Resp         string // hexadecimal
	Status            int
	ReqType, RespType string
}

func truthOfShapes(t *testing.T, name string) (all []corpusTruth) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shapesDir, name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(strings.NewReplacer("req_type", "reqtype", "resp_type", "resptype").Replace(string(data))) {
		var s corpusTruth
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// TestLearnFromACapture: of a capture and its .proto files, with google.api.http among them, each route gets the types that its sender used;
// what is doubtful is a comment. capture, without a file of routes, shows each message as what it was.
func TestLearnFromACapture(t *testing.T) {
	pcap, protos := filepath.Join(shapesDir, "learn.pcap"), filepath.Join(shapesDir, "proto")
	want, err := os.ReadFile(filepath.Join(shapesDir, "learn.routes"))
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := isukitIn(t, "", "routes", "learn", pcap, "--proto", protos)
	if code != ui.ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	var got []string
	doubtful := 0
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, line := range lines {
		line, doubt := strings.CutPrefix(line, "#? ")
		if doubt {
			doubtful++
		} else if strings.HasPrefix(line, "#") {
			continue
		}
		if i == 0 || !strings.HasPrefix(lines[i-1], "# ") {
			t.Errorf("%q has no evidence before it", line)
		}
		got = append(got, line)
	}
	slices.Sort(got)
	if diff := gocmp.Diff(strings.TrimSpace(string(want)), strings.Join(got, "\n")); diff != "" || doubtful > 3 {
		t.Errorf("%d of the routes are doubtful (-sent +learned):\n%s\n%s", doubtful, diff, out)
	}
	// A capture that was cut off teaches what is before the cut.
	whole, err := os.ReadFile(pcap)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pcap")
	write(t, cut, string(whole[:len(whole)/2+1]))
	if code, out, errs := isukitIn(t, "", "routes", "learn", cut, "--proto", protos); code != ui.ExitFailed || !strings.Contains(out, "shop.api.ListItemsResponse\n") || !strings.Contains(errs, "ends inside a packet") {
		t.Errorf("of a part: exit %d, %s%s", code, out, errs)
	}
	code, out, errs = isukitIn(t, "", "capture", pcap, "--proto", protos, "--json")
	if code != ui.ExitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	truth := truthOfShapes(t, "learn.truth")
	lines = strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(truth) || len(truth) != 60 {
		t.Fatalf("%d exchanges, sent %d", len(lines), len(truth))
	}
	for i, s := range truth {
		var e exchange.ExchangeJSON
		if err := json.Unmarshal([]byte(lines[i]), &e); err != nil {
			t.Fatal(err)
		}
		if e.Method != s.Method || !strings.HasSuffix(e.URL, s.Path) || e.ReqType != s.ReqType || e.RespType != s.RespType ||
			s.ReqType != "" && !e.ReqGuessed || !e.RespGuessed && s.Status < 400 || len(e.Faults) > 0 {
			t.Errorf("%s %s: %q -> %q, faults %q; sent %q -> %q", e.Method, e.URL, e.ReqType, e.RespType, e.Faults, s.ReqType, s.RespType)
		}
	}
}

// formless are the messages of odd.pcap that JSON cannot express.
const formless = 7

// TestCaptureGoesOnPastOddMessages: messages without a form in JSON do not end a capture: each has its fault, what is behind them is shown, and the
// exit code tells. As text all of them have a form, and bodies are written as they came.
func TestCaptureGoesOnPastOddMessages(t *testing.T) {
	pcap, truth, dir := filepath.Join(shapesDir, "odd.pcap"), truthOfShapes(t, "odd.truth"), t.TempDir()
	routes := filepath.Join(dir, "routes.tsv")
	write(t, routes, "POST\t/octets\ttypes.Types\ttypes.Types\n")
	args := []string{"capture", pcap, "--proto", corpusDir, "--routes", routes}
	code, out, errs := isukitIn(t, "", append(args, "--json", "--write-bodies", filepath.Join(dir, "bodies"))...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != ui.ExitRound || len(lines) != len(truth) || !strings.Contains(errs, fmt.Sprintf("%d messages have parts that JSON cannot express", formless)) {
		t.Fatalf("exit %d, %d of %d exchanges: %s", code, len(lines), len(truth), errs)
	}
	for i, s := range truth {
		var e exchange.ExchangeJSON
		if err := json.Unmarshal([]byte(lines[i]), &e); err != nil {
			t.Fatal(err)
		}
		odd := !strings.Contains(s.Path, "typed") && s.Path != "/octets"
		if e.RespType != s.RespType || e.ReqType != s.ReqType || (len(e.Faults) > 0) != odd || odd && !strings.Contains(string(e.Resp), `"name":"x"`) {
			t.Errorf("%s: %q -> %q, faults %q, %s", s.Path, e.ReqType, e.RespType, e.Faults, e.Resp)
		}
		body, err := os.ReadFile(filepath.Join(dir, "bodies", fmt.Sprintf("%06d-response.bin", i+1)))
		if err != nil || hex.EncodeToString(body) != s.Resp {
			t.Errorf("%s: the body is written as %x, %v; sent %s", s.Path, body, err, s.Resp)
		}
	}
	if code, out, errs := isukitIn(t, "", append(args, "--bodies")...); code != ui.ExitOK || strings.Count(out, "\n  response types.Types") != len(truth) {
		t.Errorf("as text: exit %d, %s%s", code, out, errs)
	}
}

// TestLiveCaptureTellsWhatIsAmiss: of live traffic, too, the exit code says that a message had no form in JSON, and nothing behind it is lost.
func TestLiveCaptureTellsWhatIsAmiss(t *testing.T) {
	infratest.Real(t)
	binary, inside := apart(t)
	if !inside {
		return
	}
	byPath := map[string]corpusTruth{}
	var fine, all []string
	for _, s := range truthOfShapes(t, "odd.truth") {
		if s.Method != http.MethodGet {
			continue
		}
		byPath[s.Path] = s
		all = append(all, s.Path)
		if strings.Contains(s.Path, "typed") {
			fine = append(fine, s.Path)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := hex.DecodeString(byPath[r.URL.Path].Resp)
		w.Header().Set("Content-Type", "application/protobuf; proto=types.Types")
		_, _ = w.Write(body)
	}))
	defer server.Close()
	port := fmt.Sprint(server.Listener.Addr().(*net.TCPAddr).Port)
	for _, c := range []struct {
		paths []string
		code  int
	}{{fine, ui.ExitOK}, {all, ui.ExitRound}} {
		var out lineCounter
		cmd := exec.Command(binary, "capture", "--live", "lo", "--json", "--proto", corpusDir, "tcp port "+port)
		cmd.Stdout = &out
		pipe, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := bufio.NewReader(pipe)
		for line := readLine(t, said); !strings.Contains(line, "capturing on lo"); {
			line = readLine(t, said)
		}
		for _, path := range c.paths {
			resp, err := http.Get(server.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		wait.For(t, "every exchange to be printed", func() bool { return out.lines.Load() >= int64(len(c.paths)) })
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		var rest strings.Builder
		_, _ = said.WriteTo(&rest)
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != c.code || (code == ui.ExitRound) != strings.Contains(rest.String(), fmt.Sprintf("%d messages have parts that JSON cannot express", formless)) {
			t.Errorf("%d exchanges: exit %d, want %d: %s", len(c.paths), code, c.code, rest.String())
		}
		for _, path := range c.paths {
			if !strings.Contains(out.text.String(), path+`"`) {
				t.Errorf("%s is not shown: %s", path, out.text.String())
			}
		}
	}
}
