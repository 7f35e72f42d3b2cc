package infratest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"isukit/infra/infratest/wait"
)

// FindBrowser is the path of Chromium, under any of the names that make setup-test is content with. A missing one fails tb.
func FindBrowser(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatal("Chromium not found (hint: make setup-test)")
	return ""
}

// Browser is a headless Chromium that is spoken to over two pipes (--remote-debugging-pipe: JSON texts that end in NUL).
type Browser struct {
	t       testing.TB
	to      io.Writer
	mu      sync.Mutex
	next    int
	answers map[int]chan message
	events  []message
	session string
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

// StartBrowser starts one for a test of real programs; it is gone when the test ends.
func StartBrowser(t testing.TB) *Browser {
	t.Helper()
	Real(t)
	path := FindBrowser(t)
	toRead, toWrite, err := os.Pipe()
	NoError(t, err)
	fromRead, fromWrite, err := os.Pipe()
	NoError(t, err)
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	cmd.ExtraFiles = []*os.File{toRead, fromWrite} // become 3 and 4
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	NoError(t, cmd.Start())
	toRead.Close()
	fromWrite.Close()
	b := &Browser{t: t, to: toWrite, answers: map[int]chan message{}}
	read := make(chan struct{})
	go func() { defer close(read); b.read(fromRead) }()
	t.Cleanup(func() {
		_ = b.Send("Browser.close", nil, nil)
		kill := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		kill.Stop()
		fromRead.Close()
		toWrite.Close()
		<-read
		if t.Failed() {
			t.Logf("chromium ended with %v and said:\n%s", err, stderr.String())
		}
	})
	b.attach()
	return b
}

func (b *Browser) read(from io.Reader) {
	r := bufio.NewReader(from)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if answer := b.answers[m.ID]; m.ID != 0 && answer != nil {
			answer <- m
		} else {
			b.events = append(b.events, m)
		}
		b.mu.Unlock()
	}
}

// Send makes one call and waits for its answer.
func (b *Browser) Send(method string, params, into any) error {
	b.mu.Lock()
	b.next++
	id, answer := b.next, make(chan message, 1)
	b.answers[id] = answer
	b.mu.Unlock()
	call := map[string]any{"id": id, "method": method, "params": params}
	if params == nil {
		call["params"] = struct{}{}
	}
	if b.session != "" {
		call["sessionId"] = b.session
	}
	text, err := json.Marshal(call)
	if err != nil {
		return err
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		return err
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return errors.New(m.Error.Message)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(m.Result, into)
	case <-time.After(3 * wait.Limit): // a browser that starts on a busy machine
		return fmt.Errorf("no answer to %s", method)
	}
}

// Must makes one call of the protocol, with its parameters, and stores what it answers.
func (b *Browser) Must(method string, params, into any) {
	b.t.Helper()
	if err := b.Send(method, params, into); err != nil {
		b.t.Fatalf("chromium: %s: %v", method, err)
	}
}

func (b *Browser) attach() {
	b.t.Helper()
	var target struct{ TargetID string }
	b.Must("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.Must("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.Must(domain+".enable", nil, nil)
	}
}

// Eval runs an expression in the page and stores its value. A page that is being left cannot answer: the next one is asked.
func (b *Browser) Eval(expression string, into any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	var err error
	for range 20 {
		err = b.Send("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &answer)
		if err == nil || !strings.Contains(err.Error(), "navigated") && !strings.Contains(err.Error(), "context") {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		b.t.Fatalf("chromium: %s: %v", expression, err)
	}
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, answer.ExceptionDetails)
	}
	if err := json.Unmarshal(answer.Result.Value, into); err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
}

// View sets the width in pixels and the colour scheme, "light" or "dark".
func (b *Browser) View(width int, scheme string) {
	b.t.Helper()
	b.Must("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.Must("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Open shows a file.
func (b *Browser) Open(path string) {
	b.t.Helper()
	b.Must("Page.navigate", map[string]any{"url": "file://" + path}, nil)
	b.loaded(path, "location.protocol", "file:")
}

// Complaints returns console output, exceptions, log entries (a breach of the policy is one) and requests beyond the page.
func (b *Browser) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, e := range b.events {
		switch e.Method {
		case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
			all = append(all, e.Method+": "+string(e.Params))
		case "Network.requestWillBeSent":
			var p struct{ Request struct{ URL string } }
			if err := json.Unmarshal(e.Params, &p); err != nil {
				b.t.Error(err)
			}
			if !strings.HasPrefix(p.Request.URL, "file://") && !strings.HasPrefix(p.Request.URL, "data:") {
				all = append(all, "request of "+p.Request.URL)
			}
		}
	}
	return all
}

// OpenURL shows an address and waits until it is loaded.
func (b *Browser) OpenURL(url string) {
	b.t.Helper()
	b.Must("Page.navigate", map[string]any{"url": url}, nil)
	b.loaded(url, "location.href", url)
}

// loaded waits until the page is the one whose expression has a value, and is whole.
func (b *Browser) loaded(what, expression, value string) {
	b.t.Helper()
	wait.For(b.t, what+" to be loaded", func() bool {
		var ready string
		b.Eval("document.readyState + "+expression, &ready)
		return ready == "complete"+value
	})
}

// Shoot saves a picture of the whole page where ISUKIT_TEST_SCREENSHOTS says, for people to look at.
func (b *Browser) Shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("ISUKIT_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.Must("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	png, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		b.t.Error(err)
	}
}
