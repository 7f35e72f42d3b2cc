package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	googleproto "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"isukit/cmd/internal/exchange"
	"isukit/infra/infratest/wait"
	"isukit/proto"
	"isukit/proto/decode"
)

// sentExchange is what the sender knows of one exchange: what a capture of it must show.
type sentExchange struct {
	Method, URI string
	Status      int
	// Req and Resp are hashes of the bodies as messages, before content encoding.
	Req, Resp string
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// traffic sends n requests over real connections of net/http, with the portal's routes and messages of random content, and
// returns what was sent. record, when not nil, runs around it with the server's port: it captures. Each answer waits for the gates.
func traffic(t testing.TB, n int, clientTLS *tls.Config, packed bool, record func(port string, run func()), gates ...func()) []sentExchange {
	t.Helper()
	schema, err := exchange.PortalSchema()
	if err != nil {
		t.Fatal(err)
	}
	answers := answerer{schema: schema, packed: packed, gates: gates}
	server := httptest.NewUnstartedServer(&answers)
	server.Config.ErrorLog = nil
	transport := &http.Transport{MaxIdleConnsPerHost: 4, DisableCompression: true, Protocols: http1Only()}
	if clientTLS != nil {
		server.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
		server.StartTLS()
		transport.TLSClientConfig = clientTLS
	} else {
		server.Start()
	}
	defer server.Close()
	defer transport.CloseIdleConnections()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	run := func() {
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(uint64(worker), 9))
				for i := range n / 4 {
					sendOne(t, client, server.URL, schema, r, worker*n+i)
				}
			}()
		}
		wg.Wait()
		// Closing idle connections while another worker uses them loses nothing; done once, at the end.
		transport.CloseIdleConnections()
		time.Sleep(50 * time.Millisecond)
	}
	record(port, run)
	return answers.sent
}

func sendOne(t testing.TB, client *http.Client, base string, schema *decode.Schema, r *rand.Rand, id int) {
	routes := proto.Portal()
	route := routes[r.IntN(len(routes))]
	path := strings.NewReplacer("{team_id}", strconv.Itoa(id), "{job_id}", strconv.Itoa(id), "{clarification_id}", strconv.Itoa(id)).Replace(route.Path)
	var body io.Reader
	if route.Request != "" {
		data := randomBody(t, schema, protoreflect.FullName(route.Request), r)
		body = bytes.NewReader(data)
		if r.IntN(4) == 0 {
			body = io.MultiReader(body) // of unknown length: in chunks
		}
	}
	req, err := http.NewRequest(route.Method, fmt.Sprintf("%s%s?id=%d", base, path, id), body)
	if err != nil {
		t.Error(err)
		return
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/protobuf")
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
}

// answerer answers every route with a random message, some with an error, and remembers all.
type answerer struct {
	gates  []func()
	schema *decode.Schema
	packed bool
	mu     sync.Mutex
	sent   []sentExchange
}

func (a *answerer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	for _, gate := range a.gates {
		gate()
	}
	in, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id, _ := strconv.Atoi(req.URL.Query().Get("id"))
	r := rand.New(rand.NewPCG(uint64(id), 4))
	status, contentType, typ := http.StatusOK, "application/protobuf", protoreflect.FullName("portal.v1.Error")
	route, found := proto.Portal().Match(req.Method, req.URL.Path)
	if found && r.IntN(10) > 0 {
		typ = protoreflect.FullName(route.Response)
	} else {
		status, contentType = http.StatusConflict, "application/protobuf; proto=portal.v1.Error"
	}
	out, err := randomMessage(a.schema, typ, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a.mu.Lock()
	a.sent = append(a.sent, sentExchange{req.Method, req.URL.RequestURI(), status, hashOf(in), hashOf(out)})
	a.mu.Unlock()
	if a.packed && len(out) > 200 {
		w.Header().Set("Content-Encoding", "gzip")
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(out)
		_ = z.Close()
		out = b.Bytes()
	}
	w.Header().Set("Content-Type", contentType)
	if r.IntN(3) > 0 {
		w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(out)
}

func randomBody(t testing.TB, schema *decode.Schema, name protoreflect.FullName, r *rand.Rand) []byte {
	data, err := randomMessage(schema, name, r)
	if err != nil {
		t.Error(err)
	}
	return data
}

// randomMessage is a message with every kind of value, the empty one among them.
func randomMessage(schema *decode.Schema, name protoreflect.FullName, r *rand.Rand) ([]byte, error) {
	mt, err := schema.FindMessageByName(name)
	if err != nil {
		return nil, err
	}
	m := mt.New()
	if r.IntN(10) > 0 {
		fill(m, r, 0)
	}
	return googleproto.Marshal(m.Interface())
}

func fill(m protoreflect.Message, r *rand.Rand, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch {
		case r.IntN(5) == 0 || depth > 3:
		case fd.IsList() && fd.Message() != nil:
			for range r.IntN(30) {
				fill(m.Mutable(fd).List().AppendMutable().Message(), r, depth+1)
			}
		case fd.IsList():
			for range r.IntN(5) {
				m.Mutable(fd).List().Append(randomScalar(fd, r))
			}
		case fd.Message() != nil:
			fill(m.Mutable(fd).Message(), r, depth+1)
		default:
			m.Set(fd, randomScalar(fd, r))
		}
	}
}

func randomScalar(fd protoreflect.FieldDescriptor, r *rand.Rand) protoreflect.Value {
	words := []string{"椅子コン", "go", "", "a\tb\n\"c\"", "emoji 👩‍💻", "evil\u202etxt", strings.Repeat("長い", 200), "\x01\x7f"}
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(words[r.IntN(len(words))])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0xff, 0, byte(r.IntN(256))})
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(5)))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(r.Uint32()))
	}
	return protoreflect.ValueOfInt64(int64(r.Uint64()) >> r.IntN(64))
}

// dumpcap captures one port of the loopback interface, or with "" all of them, while run runs, and returns the file.
func dumpcap(t testing.TB, port string, run func()) string {
	t.Helper()
	filter := "tcp"
	if port != "" {
		filter = "tcp port " + port
	}
	file := filepath.Join(t.TempDir(), "traffic.pcapng")
	cmd := exec.Command("dumpcap", "-i", "lo", "-q", "-B", "64", "-f", filter, "-w", file)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("dumpcap is needed (Debian package tshark): %v", err)
	}
	waitForFile(t, file, &log)
	run()
	// The kernel hands packets over in blocks; the last one waits for its timer, and dumpcap, on a busy machine, for a CPU.
	time.Sleep(500 * time.Millisecond)
	quiet := 0
	wait.For(t, "dumpcap to have nothing to do", func() bool {
		if quiet++; !sleeps(t, cmd.Process.Pid) {
			quiet = 0
		}
		return quiet == 10
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("dumpcap: %v\n%s", err, log.String())
	}
	return file
}

// waitForFile waits until dumpcap has written the file's header, which it does when it captures.
func waitForFile(t testing.TB, file string, log *bytes.Buffer) {
	t.Helper()
	if !wait.Within(func() bool { info, err := os.Stat(file); return err == nil && info.Size() > 0 }) {
		t.Fatalf("dumpcap does not capture: %s", log.String())
	}
	time.Sleep(200 * time.Millisecond)
}

// sleeps tells whether all threads of a process wait for something other than a CPU.
func sleeps(t testing.TB, pid int) bool {
	t.Helper()
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if _, state, ok := strings.Cut(string(text), ") "); err != nil || !ok || state[0] != 'S' {
			return false
		}
	}
	return len(files) > 0
}
