package isukit_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// footprint finds paths of a host with isukit's name in them, in Go and in shell.
var footprint = regexp.MustCompile(`/(?:etc|var|run|usr|opt|sys/fs/cgroup)/[\w./@-]*isukit[\w.-]*|\bzz-isukit[\w.-]*|/99-isukit[\w.-]*`)

// noFootprint are paths of images that the tests boot.
var noFootprint = map[string]string{"/etc/isukit-tree": "marks the files that make hosts fetched", "/etc/sudoers.d/isukit": "a rule in those files"}

// TestFootprintIsDocumented holds that docs/on-your-hosts.md names every path that isukit writes on a host.
func TestFootprintIsDocumented(t *testing.T) {
	page := readFile(t, "docs/on-your-hosts.md")
	seen := map[string]bool{}
	look := func(file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range footprint.FindAllString(string(text), -1) {
			path = strings.TrimRight(path, ".-")
			if noFootprint[path] == "" && !seen[path] && !strings.Contains(page, path) {
				t.Errorf("%s: docs/on-your-hosts.md does not name %s", file, path)
			}
			seen[path] = true
		}
	}
	eachSource(t, func(file, dir string) {
		if !strings.HasSuffix(file, "_test.go") && !strings.HasPrefix(dir, "infra/infratest") {
			look(file)
		}
	})
	for _, script := range []string{"scripts/capture.sh", "scripts/lab-boot.sh", "scripts/lab-host.sh", "scripts/lab-init.sh", "scripts/lab-link.sh", "scripts/lab-switch.sh", "scripts/team.sh"} {
		look(script)
	}
	if len(seen) < 12 {
		t.Errorf("only %d paths were found: %v", len(seen), seen)
	}
}
