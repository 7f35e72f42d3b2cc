package loadbench

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// nginx is a private server of one file.
type nginx struct {
	cmd *exec.Cmd
	url string // of the message
}

const nginxConf = `
master_process off; daemon off; pid %[1]s/nginx.pid; error_log %[1]s/error.log;
worker_rlimit_nofile 30000;
events { worker_connections 24000; }
http {
	access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
	sendfile off; tcp_nodelay on; open_file_cache max=10; etag off;
	client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	server {
		listen 127.0.0.1:%[2]d backlog=16384;
		root %[1]s; types {} default_type application/protobuf;
	}
}
`

// startNginx serves the message from CPU 1.
func startNginx(ctx context.Context, dir string) (*nginx, error) {
	bin, err := exec.LookPath("nginx")
	if err != nil {
		return nil, fmt.Errorf("nginx is not installed (make setup): %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "leaderboard"), newMessage().bytes, 0o644); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, port), 0o644); err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, "-p", dir, "-c", conf)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := startPinned(cmd, 1); err != nil {
		return nil, err
	}
	n := &nginx{cmd: cmd, url: fmt.Sprintf("http://127.0.0.1:%d/leaderboard", port)}
	for range 100 {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return n, nil
		}
		select {
		case <-ctx.Done():
			n.stop()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	n.stop()
	return nil, fmt.Errorf("nginx does not listen on port %d", port)
}

func (n *nginx) stop() {
	n.cmd.Process.Kill()
	n.cmd.Wait()
}
