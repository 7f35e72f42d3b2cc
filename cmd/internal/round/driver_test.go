package round_test

import (
	"testing"

	"isukit/cmd/internal/round"
	"isukit/infra/project"
)

// TestSSHAddress wants hosts of a project to be captured under the names that it has for them.
func TestSSHAddress(t *testing.T) {
	p, err := project.Parse([]byte("name: x\nhosts: [{name: web, address: \"isucon@192.0.2.9:2222\"}, {name: own}]\nbenchmark: {external: true}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		p       *project.Project
		host    string
		address string
		here    bool
	}{{p, "web", "ssh://isucon@192.0.2.9:2222", false}, {p, "own", "", true}, {p, "other", "", false}, {nil, "web", "", false}} {
		if address, here := round.SSHAddress(tt.p, tt.host, t.TempDir()); address != tt.address || here != tt.here {
			t.Errorf("%s: got %q, %t, want %q, %t", tt.host, address, here, tt.address, tt.here)
		}
	}
}
