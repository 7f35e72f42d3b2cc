package exchange

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// CodingsHeader is where a connection from WithCodings puts the transfer codings of a response that net/http refuses: all but chunked.
const CodingsHeader = "Isukit-Transfer-Codings"

// WithCodings wraps a connection that is used for one response.
func WithCodings(c net.Conn) net.Conn { return &codingsConn{Conn: c} }

type codingsConn struct {
	net.Conn
	rest io.Reader // what follows, once the head was read
}

// Read implements net.Conn.
func (c *codingsConn) Read(b []byte) (int, error) {
	if c.rest == nil {
		c.rest = c.head()
	}
	return c.rest.Read(b)
}

// maxHeadBytes bounds the head of a response, with the limit of net/http.
const maxHeadBytes = 1 << 20

// head reads the response's head, and those of interim responses (1xx) before it, and returns it changed with what follows. What is not
// HTTP/1.x is returned as it is.
func (c *codingsConn) head() io.Reader {
	in := bufio.NewReader(c.Conn)
	var head []byte
	for interim := true; interim; {
		start, _ := in.Peek(len("HTTP/1.1 1"))
		if !bytes.HasPrefix(start, []byte("HTTP/1.")) {
			break
		}
		interim = bytes.HasSuffix(start, []byte(" 1"))
		for blank := false; !blank; {
			line, err := in.ReadSlice('\n')
			blank = len(bytes.TrimSpace(line)) == 0
			head = append(head, plainCodings(line)...)
			if err != nil || len(head) > maxHeadBytes {
				return io.MultiReader(bytes.NewReader(head), in)
			}
		}
	}
	return io.MultiReader(bytes.NewReader(head), in)
}

// plainCodings is a line of a head with "Transfer-Encoding: gzip, chunked" changed to "Transfer-Encoding: chunked" and a CodingsHeader.
func plainCodings(line []byte) []byte {
	name, value, _ := strings.Cut(string(line), ":")
	codings := strings.FieldsFunc(strings.ToLower(value), func(r rune) bool { return r == ',' || r <= ' ' })
	others := slices.DeleteFunc(slices.Clone(codings), func(coding string) bool { return coding == "chunked" })
	if !strings.EqualFold(name, "Transfer-Encoding") || len(others) == 0 {
		return line
	}
	changed := CodingsHeader + ": " + strings.Join(others, ", ") + "\r\n"
	if codings[len(codings)-1] == "chunked" {
		changed += "Transfer-Encoding: chunked\r\n"
	}
	return []byte(changed)
}

// SpeaksHTTP2 opens a connection as HTTP/2 does, and reports whether the server answers with its settings (RFC 9113, 3.4).
func SpeaksHTTP2(ctx context.Context, t *http.Transport, target *url.URL) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	port := cmp.Or(target.Port(), map[string]string{"http": "80", "https": "443"}[target.Scheme])
	conn, err := t.DialContext(ctx, "tcp", net.JoinHostPort(target.Hostname(), port))
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if target.Scheme == "https" {
		config := t.TLSClientConfig.Clone()
		config.ServerName, config.NextProtos = target.Hostname(), []string{"h2"}
		conn = tls.Client(conn, config)
	}
	var frame [9]byte
	const settings = 4
	if _, err = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err == nil {
		_, err = io.ReadFull(conn, frame[:])
	}
	return err == nil && frame[3] == settings
}
