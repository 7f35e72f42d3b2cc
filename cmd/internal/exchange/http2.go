package exchange

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

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
