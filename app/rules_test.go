package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"isukit/app"
	"isukit/proto/wire"
)

// TestStatementsGiveTheSameRowsEverywhere holds what the app promises its replicas: ids and times come from the app.
func TestStatementsGiveTheSameRowsEverywhere(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*.go", "dataset/*.go", "dataset/*.sql"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	literal := regexp.MustCompile("(?s)\"(?:[^\"\\\\\n]|\\\\.)*\"|`[^`]*`")
	forbidden := regexp.MustCompile(`(?i)\b(AUTO_INCREMENT|NOW\(|CURRENT_TIMESTAMP|SYSDATE|RAND\(|UUID\(|LAST_INSERT_ID)|\b(UPDATE|DELETE)\b.*\bLIMIT\b`)
	statements := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := []string{string(text)}
		if strings.HasSuffix(file, ".go") {
			parts = literal.FindAllString(string(text), -1)
		}
		statements += len(parts)
		for _, part := range parts {
			if m := forbidden.FindString(part); m != "" {
				t.Errorf("%s: %q in %s", file, m, part)
			}
			if strings.Contains(part, "JSON_CONTAINS(") && !strings.Contains(part, "JSON_QUOTE(?)") {
				t.Errorf("%s: JSON_CONTAINS without JSON_QUOTE in %s", file, part)
			}
		}
	}
	if statements < 100 {
		t.Errorf("only %d literals were looked at", statements)
	}
}

// TestBodyThatEndsEarly announces a longer body than it sends, which no client library does.
func TestBodyThatEndsEarly(t *testing.T) {
	h, log := newBroken(t, &brokenStore{}, app.RoleAll)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() {
		server.Close()
		<-done
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 50\r\n\r\n\n\x05admin", wire.ContentType)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := wire.FromResponse(res.StatusCode, res.Header.Get("Content-Type"), body)
	if res.StatusCode != 400 || e.GetCode() != "truncated_body" {
		t.Errorf("answer %d %v, want 400 truncated_body", res.StatusCode, e)
	}
	if log.Len() != 0 {
		t.Errorf("log: %s", log)
	}
}
