package tune_test

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// sysctl is one value in a network namespace; "" is the test's own.
func sysctl(t testing.TB, ns, key string) string {
	t.Helper()
	argv := []string{"sysctl", "-n", key}
	if ns != "" {
		argv = append([]string{"ip", "netns", "exec", ns}, argv...)
	}
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

// sysctls are the namespace's, except for counters and those of the whole machine.
func sysctls(t testing.TB, ns string) string {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", ns, "sysctl", "-a", "--pattern", `^(net\.|vm\.(swap|dirty|over)|fs\.(file-max|nr_open))`).Output()
	if err != nil {
		t.Fatalf("sysctl -a: %v", err)
	}
	var kept []string
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "nf_conntrack_count") && !strings.Contains(line, "stat_refresh") {
			kept = append(kept, strings.TrimSpace(line))
		}
	}
	return strings.Join(kept, "\n")
}
