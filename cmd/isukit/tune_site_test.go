package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestTuneSite applies tunings to each driver's deployment and reverts them: afterwards everything matches the applied topology.
func TestTuneSite(t *testing.T) {
	t.Parallel()
	program, env, _ := topologyEnv(t)
	for driver, topology := range map[string]string{"local": "single", "lab": "nginx"} {
		t.Run(driver, func(t *testing.T) {
			tool := func(want string, args ...string) string {
				t.Helper()
				out, err := runTool(t, program, env, append(args, "--driver", driver)...)
				if (err == nil) != (want != "error") {
					t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
				}
				return out
			}
			if out := tool("error", "tune", "verify"); !strings.Contains(out, "no topology is up") {
				t.Errorf("verify of nothing: %s", out)
			}
			tool("", "topology", "apply", topology, "-q")
			defer runTool(t, program, env, "topology", "down", "--driver", driver)
			sendToWhatIsUp(t, program, env, tool("", "topology", "status"))
			out := tool("", "tune", "apply", "sysctl/ports", "mysql/durability-relaxed", "mysql/doublewrite", "nginx/logs-off", "limits/nofile", "--accept-risk", "mysql/doublewrite")
			for _, want := range []string{"innodb_flush_log_at_trx_commit runtime", "innodb_doublewrite file", "http > access_log file", "restarted", "reloaded"} {
				if !strings.Contains(out, want) {
					t.Errorf("apply: no %q in\n%s", want, out)
				}
			}
			if driver == "lab" && !strings.Contains(out, "net.ipv4.ip_local_port_range runtime") {
				t.Errorf("the kernels of the lab's hosts:\n%s", out)
			}
			tool("", "tune", "verify")
			tool("", "topology", "verify")
			tunings := `"limits/nofile, mysql/doublewrite, mysql/durability-relaxed, mysql/memory, nginx/logs-off"`
			if driver == "lab" {
				tunings = strings.TrimSuffix(tunings, `"`) + `, sysctl/ports"`
			}
			if out := tool("", "round", "-t", topology, "--scale", "small", "--duration", "1s", "--tune", "mysql/memory,mysql/doublewrite", "--accept-risk", "mysql/doublewrite", "--json", "--results", t.TempDir()); !strings.Contains(out, tunings) {
				t.Errorf("a round over tunings does not name them:\n%s", out)
			}
			tool("", "tune", "verify")
			other := map[string]string{"single": "nginx", "nginx": "final-4"}[topology]
			if out := tool("error", "topology", "apply", other, "-q"); !strings.Contains(out, "isukit tune revert --all --driver "+driver) || strings.Contains(out, "someone else") {
				t.Errorf("topology apply of another over tunings:\n%s", out)
			}
			tool("", "tune", "revert", "--all")
			tool("", "topology", "verify")
		})
	}
	t.Run("envoy", func(t *testing.T) { tuneEnvoy(t, program, env) })
	if out, err := runTool(t, program, env, "tune", "verify", "--driver", "lab", "--this-kernel"); err == nil || !strings.Contains(out, "--driver selects the servers of a topology") {
		t.Errorf("--driver with --this-kernel: %v\n%s", err, out)
	}
}

// sendToWhatIsUp holds that isukit send reaches a portal where topology status says that it is, also in the lab.
func sendToWhatIsUp(t *testing.T, program string, env []string, status string) {
	t.Helper()
	url := regexp.MustCompile(`http://[0-9.:]+`).FindString(status)
	if out, err := runTool(t, program, env, "send", "--to", url, "GET /"); err != nil || !strings.Contains(out, "200 OK") {
		t.Errorf("send to %q: %v\n%s", url, err, out)
	}
}

// tuneEnvoy applies the group for the last round where the proxy is Envoy: its access log is off, and on again after the revert.
func tuneEnvoy(t *testing.T, program string, env []string) {
	tool := func(args ...string) string {
		t.Helper()
		out, err := runTool(t, program, env, append(args, "--driver", "local")...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return out
	}
	tool("topology", "apply", "envoy", "-q")
	defer tool("topology", "down")
	out := tool("tune", "apply", "final")
	for _, want := range []string{"access_log file", "-> []", "[envoy/logs-off]", "restarted"} {
		if !strings.Contains(out, want) {
			t.Errorf("apply: no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "nginx/logs-off") {
		t.Errorf("apply tells of the other proxy's tuning:\n%s", out)
	}
	if out := tool("tune", "verify"); !strings.Contains(out, "all applied settings are in effect (") {
		t.Errorf("verify: %s", out)
	}
	tool("tune", "revert", "--all")
	if out := tool("tune", "verify"); !strings.Contains(out, "nothing is applied") {
		t.Errorf("verify after the revert: %s", out)
	}
	tool("topology", "verify")
}
