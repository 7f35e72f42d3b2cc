package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// TestCaptureOpenSSL reads what Go's TLS does not speak: CBC with encrypt-then-MAC, SHA-384 and DHE, between OpenSSL's own
// client and server; and the second of two connections, which resumes the session.
func TestCaptureOpenSSL(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	dir := t.TempDir()
	openssl(t, dir, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=a")
	if err := os.WriteFile(filepath.Join(dir, "page"), []byte(strings.Repeat("portal ", 5000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ version, cipher string }{
		{"-tls1_2", "ECDHE-RSA-AES128-SHA256"}, {"-tls1_2", "ECDHE-RSA-AES256-SHA384"}, {"-tls1_2", "AES256-SHA"},
		{"-tls1_2", "DHE-RSA-AES128-SHA256"}, {"-tls1_2", "DHE-RSA-CHACHA20-POLY1305"}, {"-tls1_2", "AES128-GCM-SHA256"},
		{"-tls1_3", "TLS_CHACHA20_POLY1305_SHA256"}, {"-tls1_3", "TLS_AES_256_GCM_SHA384"},
	} {
		t.Run(tt.cipher, func(t *testing.T) {
			t.Parallel()
			keys, port := filepath.Join(dir, tt.cipher+".keys"), freePort(t)
			cipher := "-cipher"
			if tt.version == "-tls1_3" {
				cipher = "-ciphersuites"
			}
			server := exec.Command("openssl", "s_server", "-accept", port, "-cert", "cert.pem", "-key", "key.pem", "-WWW", tt.version,
				cipher, tt.cipher, "-keylogfile", keys)
			server.Dir = dir
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = server.Process.Kill()
				_ = server.Wait()
			}()
			waitForPort(t, port)
			file := dumpcap(t, port, func() {
				for i := range 2 {
					session := []string{"-sess_out", tt.cipher + ".session"}
					if i == 1 {
						session = []string{"-sess_in", tt.cipher + ".session"}
					}
					args := append([]string{"s_client", "-connect", "127.0.0.1:" + port, "-quiet", "-ign_eof", tt.version}, session...)
					client := exec.Command("openssl", args...)
					client.Dir = dir
					client.Stdin = strings.NewReader("GET /page HTTP/1.0\r\n\r\n")
					var out bytes.Buffer
					client.Stdout = &out
					if err := client.Run(); err != nil || !strings.Contains(out.String(), "portal portal") {
						t.Fatalf("openssl s_client: %v\n%.300s", err, out.String())
					}
				}
			})
			all := captureJSONL(t, file, keys)
			want := hashOf([]byte(strings.Repeat("portal ", 5000)))
			if len(all) != 2 {
				t.Fatalf("got %d exchanges, want 2: %+v", len(all), all)
			}
			for _, e := range all {
				if e.RespSHA256 != want || len(e.Incomplete) > 0 || e.TLS == "" {
					t.Errorf("got %+v, want the whole page", e)
				}
			}
		})
	}
}

func openssl(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("openssl is needed: %v\n%s", err, out)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

func waitForPort(t *testing.T, port string) {
	t.Helper()
	wait.ForNil(t, "somebody to listen on port "+port, func() error {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err
	})
}
