package infratest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"isukit/infra/infratest"
)

func TestNginx(t *testing.T) {
	infratest.Real(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "app saw %s", r.URL.Path)
	}))
	defer app.Close()

	n := infratest.StartNginx(t,
		fmt.Sprintf("upstream app { server %s; }", app.Listener.Addr()),
		"location / { proxy_pass http://app; }")
	resp, err := http.Get(n.URL + "/hello")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(body), "app saw /hello"; got != want {
		t.Errorf("GET %s/hello: got %q, want %q; log:\n%s", n.URL, got, want, n.Log())
	}
	n.Stop()
	if err := syscall.Kill(-n.PID(), 0); err != syscall.ESRCH {
		t.Errorf("process group %d after Stop: got %v, want it gone", n.PID(), err)
	}
}
