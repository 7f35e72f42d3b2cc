package dbserver

import (
	"os"
	"path/filepath"
	"testing"
)

// TestConfined plays Ubuntu's files: this project's machines have no AppArmor.
func TestConfined(t *testing.T) {
	const on, profile = "sys/module/apparmor/parameters/enabled", "etc/apparmor.d/usr.sbin.mysqld"
	for name, tt := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"no AppArmor":      {map[string]string{profile: "..."}, false},
		"switched off":     {map[string]string{on: "N\n", profile: "..."}, false},
		"no profile":       {map[string]string{on: "Y\n"}, false},
		"profile":          {map[string]string{on: "Y\n", profile: "..."}, true},
		"disabled profile": {map[string]string{on: "Y\n", profile: "...", "etc/apparmor.d/disable/usr.sbin.mysqld": ""}, false},
	} {
		root := t.TempDir()
		for file, text := range tt.files {
			path := filepath.Join(root, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := confined("/usr/sbin/mysqld", root); got != tt.want {
			t.Errorf("%s: confined = %v, want %v", name, got, tt.want)
		}
	}
}

// TestUnconfined: the copy runs in place of the original, after its loader if it has one.
func TestUnconfined(t *testing.T) {
	dir := t.TempDir()
	server := filepath.Join(dir, "mysqld")
	if err := os.WriteFile(server, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := Install{Engine: MySQL, path: server, program: []string{"loader", server}}
	private := filepath.Join(dir, "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := in.unconfined(private)
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(private, "mysqld")
	if got.Path() != want || got.program[0] != "loader" || got.program[1] != want {
		t.Errorf("unconfined: got %s started as %q, want %s after the loader", got.Path(), got.program, want)
	}
	if in.program[1] != server {
		t.Errorf("the original is started as %q now", in.program)
	}
	if st, err := os.Stat(want); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%s: got %v, %v; want mode 0700", want, st, err)
	}
}
