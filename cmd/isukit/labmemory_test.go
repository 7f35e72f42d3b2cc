package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRoundNamesTheKilled plays a round on a database that needs more memory than its host has (MySQL, on 192 MiB): the kernel kills it,
// and the round names the role and the host. A larger buffer pool is refused before.
func TestRoundNamesTheKilled(t *testing.T) {
	t.Parallel()
	program, env, stateDir := topologyEnv(t)
	text := `{name: greedy, hosts: [{name: s1, cpus: 1, memory: 1GiB, address: 10.77.0.11}, {name: s2, cpus: 1, memory: 192MiB, address: 10.77.0.12}],
  roles: {proxy: [{host: s1}], web: [{host: s1}], api: [{host: s1}], db: [{host: s2, engine: mysql}]}}`
	file := writeGreedy(t, text)
	if out, err := runTool(t, program, env, "topology", "apply", writeGreedy(t, strings.Replace(text, "engine: mysql", "engine: mysql, buffer_pool: 2GiB", 1)), "--driver", "lab", "-q"); err == nil || !strings.Contains(out, `host "s2" has 192 MiB of memory`) {
		t.Errorf("a buffer pool above the host's memory: got %v, %q; want it refused", err, out)
	}
	defer runTool(t, program, env, "topology", "down", "--driver", "lab")
	out, err := runTool(t, program, env, "round", "-t", file, "--driver", "lab", "--duration", "3s", "-q")
	if err == nil || !strings.Contains(out, "db-1 on s2") || !strings.Contains(out, "memory") || !strings.Contains(out, "isukit: hint: ") {
		t.Errorf("a round with a database above the host's memory: got %v, %q; want db-1 on s2 named as killed: out of memory", err, out)
	}
	t.Log(out)
	if out, err := runTool(t, program, env, "topology", "down", "--driver", "lab"); err != nil {
		t.Errorf("down: %v\n%s", err, out)
	}
	wantNothingLeft(t, stateDir, nil)
}

func writeGreedy(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "greedy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
