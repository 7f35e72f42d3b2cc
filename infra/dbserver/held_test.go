package dbserver_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/dbserver"
	"isukit/infra/infratest"
)

// TestHeld plays Ubuntu's files: this project's machines have no AppArmor.
func TestHeld(t *testing.T) {
	bin := t.TempDir()
	server := filepath.Join(bin, "mariadbd")
	infratest.Program(t, server, "#!/bin/sh\necho 'mariadbd Ver 10.11.1-MariaDB for Linux'\n")
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	profile := strings.ReplaceAll(server[1:], "/", ".")
	const on = "sys/module/apparmor/parameters/enabled"
	for name, tt := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"no AppArmor":      {map[string]string{"etc/apparmor.d/" + profile: "..."}, false},
		"switched off":     {map[string]string{on: "N\n", "etc/apparmor.d/" + profile: "..."}, false},
		"no profile":       {map[string]string{on: "Y\n"}, false},
		"profile":          {map[string]string{on: "Y\n", "etc/apparmor.d/" + profile: "..."}, true},
		"disabled profile": {map[string]string{on: "Y\n", "etc/apparmor.d/" + profile: "...", "etc/apparmor.d/disable/" + profile: ""}, false},
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
		held, program, err := dbserver.Held(t.Context(), infratest.Here(t), root, "/private")
		if err != nil || held != tt.want {
			t.Errorf("%s: held %v, %v, want %v", name, held, err, tt.want)
		}
		if want := map[bool]string{true: "/private/mariadbd", false: server}[tt.want]; len(program) != 1 || program[0] != want {
			t.Errorf("%s: %q is started, want %s", name, program, want)
		}
	}
}
