package infratest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"isukit/infra/host"
)

// Nginx is a private nginx that belongs to a test.
type Nginx struct {
	URL  string // http://127.0.0.1:PORT
	Addr string // 127.0.0.1:PORT
	Dir  string // its directory: nginx.conf, access.log, error.log

	tb   testing.TB
	proc *process
}

// StartNginx starts an nginx with one server on a free port of 127.0.0.1 and returns when it accepts connections. server is the body of
// that server block, e.g. "location / { proxy_pass http://127.0.0.1:8080; }"; http is put before it, for upstreams and log formats, and may
// be "". It is stopped and its directory removed when tb ends. Any failure fails tb.
func StartNginx(tb testing.TB, http, server string) *Nginx {
	tb.Helper()
	Real(tb)
	path := FindNginx(tb)
	for attempt := 1; ; attempt++ {
		n, err := startNginx(tb, path, http, server)
		if err == nil {
			return n
		}
		if attempt == 3 {
			tb.Fatalf("start nginx: %v", err)
		}
	}
}

// FindNginx is the path of nginx, which is on the PATH of root only on some systems. A missing one fails tb.
func FindNginx(tb testing.TB) string {
	tb.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	tb.Fatal("nginx is not installed (hint: make setup)")
	return ""
}

const nginxConf = `daemon off;
pid nginx.pid;
error_log error.log info;
worker_processes 1;
%s
events { worker_connections 512; }
http {
	access_log access.log;
	client_body_temp_path tmp/body;
	proxy_temp_path tmp/proxy;
	fastcgi_temp_path tmp/fastcgi;
	uwsgi_temp_path tmp/uwsgi;
	scgi_temp_path tmp/scgi;
	%s
	server {
		listen %s;
		%s
	}
}
`

func startNginx(tb testing.TB, path, http, server string) (*Nginx, error) {
	port, err := host.FreePort()
	if err != nil {
		return nil, err
	}
	n := &Nginx{Addr: fmt.Sprintf("127.0.0.1:%d", port), Dir: shortTempDir(tb), tb: tb}
	n.URL = "http://" + n.Addr
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // its directory is closed to others
	}
	conf := filepath.Join(n.Dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, user, http, n.Addr, server), 0o600); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(n.Dir, "tmp"), 0o700); err != nil {
		return nil, err
	}
	errorLog := filepath.Join(n.Dir, "error.log")
	argv := []string{path, "-p", n.Dir, "-c", conf, "-e", errorLog}
	n.proc, err = startProcess(argv, filepath.Join(n.Dir, "output.log"), syscall.SIGTERM)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(n.Stop)
	return n, n.waitReady()
}

func (n *Nginx) waitReady() error {
	err := n.proc.ready(n.tb.Context(), func() error {
		conn, err := net.Dial("tcp", n.Addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%w:\n%s", err, n.Log())
	}
	return nil
}

// PID is nginx's master process.
func (n *Nginx) PID() int { return n.proc.pid() }

// Log is the whole error log, and what nginx printed.
func (n *Nginx) Log() string {
	text := ""
	for _, name := range []string{"error.log", "output.log"} {
		b, err := os.ReadFile(filepath.Join(n.Dir, name))
		if err != nil {
			b = []byte("(" + err.Error() + ")\n")
		}
		text += string(b)
	}
	return text
}

// Stop ends nginx and returns when all of its processes are gone.
func (n *Nginx) Stop() {
	if err := n.proc.end(syscall.SIGQUIT, stopLimit); err != nil {
		n.tb.Errorf("stop nginx: %v", err)
	}
}
