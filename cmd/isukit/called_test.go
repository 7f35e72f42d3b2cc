package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCalledAs holds that suggested commands can be pasted: where isukit is not on PATH they begin with the path that was typed.
func TestCalledAs(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "isukit")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, arg0, want string }{
		{"/nowhere", program, program},
		{"/nowhere", "bin/isukit", "bin/isukit"},
		{"/nowhere", "my bin/isukit", "'my bin/isukit'"},
		{dir, program, "isukit"},
		{dir, "isukit", "isukit"},
		{dir, "bin/isukit", "bin/isukit"}, // another one than the shell would find
		{"/nowhere", "/tmp/isukit.test", "isukit"},
	} {
		t.Setenv("PATH", tt.path)
		if got := calledAs(tt.arg0); got != tt.want {
			t.Errorf("PATH=%s, %s: got %s, want %s", tt.path, tt.arg0, got, tt.want)
		}
	}
}

func TestAsCalled(t *testing.T) {
	defer func(was string) { os.Args[0] = was }(os.Args[0])
	t.Setenv("PATH", "/nowhere")
	os.Args[0] = "./$1/isukit"
	for text, want := range map[string]string{
		"isukit round -t final-1":                "'./$1/isukit' round -t final-1",
		"sudo isukit round":                      "sudo './$1/isukit' round",
		`see "isukit round --help"`:              `see "'./$1/isukit' round --help"`,
		"make envoy, or isukit.yaml":             "make envoy, or isukit.yaml",
		"/var/lib/isukit holds what isukit made": "/var/lib/isukit holds what isukit made",
	} {
		if got := asCalled(text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
