package loadbench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// startResponder starts, on CPU 1, a server that answers every request with what nginx answers, byte for byte, and does
// nothing else: one thread that waits, reads and writes. nginx, on a core of its own, is full before a fast generator is, so
// that hits per second would compare nginx with itself.
func startResponder(ctx context.Context, srv *nginx) (url string, stop func(), err error) {
	answer, err := answerOf(ctx, srv.url)
	if err != nil {
		return "", nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		return "", nil, err
	}
	defer socket.Close()
	cmd := exec.Command(self, "-role", "responder")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(answer), os.Stderr
	cmd.ExtraFiles = []*os.File{socket}
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := startPinned(cmd, 1); err != nil {
		return "", nil, err
	}
	return "http://" + l.Addr().String() + pathOf(srv.url), func() { cmd.Process.Kill(); cmd.Wait() }, nil
}

func pathOf(raw string) string {
	u, _ := url.Parse(raw)
	return u.Path
}

// answerOf returns a server's answer as it comes over the wire.
func answerOf(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := httputil.DumpResponse(res, true)
	if err != nil {
		return nil, err
	}
	// The length may have been dropped only if it was not said.
	if !strings.Contains(string(b), "Content-Length: "+strconv.FormatInt(res.ContentLength, 10)) {
		return nil, fmt.Errorf("nginx's answer has no length: %.200q", b)
	}
	return b, nil
}

// runResponder serves the answer that it reads from its input on the listening socket 3, until it is killed.
func runResponder(in io.Reader) error {
	answer, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	const listener = 3
	ep, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	if err := watchFD(ep, listener); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.EpollWait(ep, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			fd := int(e.Fd)
			if fd != listener {
				respond(fd, buf, answer)
				continue
			}
			c, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK)
			if err == nil {
				err = unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			}
			if err == nil {
				err = watchFD(ep, c)
			}
			if err != nil && !errors.Is(err, unix.EAGAIN) {
				return err
			}
		}
	}
}

func watchFD(ep, fd int) error {
	return unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// respond answers what came on a connection. Every generator sends a request in one piece, and waits for its answer, which a
// socket's buffer always holds; anything else ends the connection, which the generator counts as an error.
func respond(fd int, buf, answer []byte) {
	n, err := unix.Read(fd, buf)
	if err != nil || n == 0 || !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
		unix.Close(fd)
		return
	}
	if n, err := unix.Write(fd, answer); err != nil || n != len(answer) {
		unix.Close(fd)
	}
}
