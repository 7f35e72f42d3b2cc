package realhosts_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/realhosts"
	"isukit/infra/infratest/wait"
)

func TestMain(m *testing.M) {
	realhosts.Main()
	os.Exit(m.Run())
}

// TestBoot holds hosts to what a server does: units run, files and only files survive reboots and power cuts, and limits are seen.
func TestBoot(t *testing.T) {
	lab := realhosts.Start(t, host.Want{Name: "s1", CPUs: 1, MemoryBytes: 512 << 20}, host.Want{Name: "s2"})
	boot := func(name string) string { return lab.Must(t, name, "cat /proc/sys/kernel/random/boot_id") }
	if state := strings.TrimSpace(lab.Must(t, "s1", "systemctl is-system-running --wait || systemctl --failed --no-legend --plain")); state != "running" {
		t.Errorf("s1 is %s, want running", state)
	}
	if got := lab.Must(t, "s1", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true"); strings.TrimSpace(got) != "536870912" {
		t.Errorf("s1 sees the memory limit %q, want 536870912", got)
	}
	// Two systemds in one control group remove each other's groups, and units fail to start: each must be alone in the whole of it.
	const group = "dir=/sys/fs/cgroup; [ ! -d $dir/unified ] || dir=$dir/unified; "
	lab.Must(t, "s1", group+"mkdir $dir/alone")
	lab.Must(t, "s2", group+"[ -e $dir/cgroup.procs ] && [ ! -e $dir/alone ]")
	lab.Must(t, "s1", "echo kept >/var/tmp/kept; echo gone >/run/gone; sysctl -q -w net.ipv4.tcp_fin_timeout=7; systemctl enable --quiet --now nginx")
	first := boot("s1")
	second := boot("s2")
	if err := lab.Reboot(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Awake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if boot("s1") == first || boot("s2") != second {
		t.Error("a reboot of s1 must give it a new boot ID, and no other host one")
	}
	lab.Must(t, "s1", "systemctl is-active --quiet nginx && [ -e /var/tmp/kept ] && [ ! -e /run/gone ] && [ $(sysctl -n net.ipv4.tcp_fin_timeout) = 60 ]")
	if err := lab.PowerCut(t.Context(), "s1", "s2"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Awake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if boot("s2") == second {
		t.Error("s2 did not boot again after its power was cut")
	}
	lab.Must(t, "s1", "systemctl is-active --quiet nginx && [ -e /var/tmp/kept ]")
	if err := lab.Cable(t.Context(), "s1", false); err != nil {
		t.Fatal(err)
	}
	lab.Must(t, "s2", "! ping -c 1 -W 1 "+lab.Address(t, "s1"))
	if err := lab.Cable(t.Context(), "s1", true); err != nil {
		t.Fatal(err)
	}
	lab.Must(t, "s2", "ping -c 1 -W 20 "+lab.Address(t, "s1"))
	config := lab.WriteConfig(t, realhosts.Login{Name: "s1", Address: lab.Address(t, "s1"), User: "isucon", Key: "id", Known: "known_hosts"})
	if got := lab.Must(t, "generator", "ssh -T -F "+config+" -o BatchMode=yes s1 sudo -n id -u"); got != "0\n" {
		t.Errorf("isucon with sudo is %q, want 0", got)
	}
}

// TestKilled kills a process that has a lab, and wants nothing left of it.
func TestKilled(t *testing.T) {
	infratest.Real(t)
	if dir := os.Getenv("REALHOSTS_KILLED"); dir != "" {
		lab := realhosts.Start(t, realhosts.Named("s1")...)
		if err := os.WriteFile(dir, []byte(lab.Dir), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
	}
	named := filepath.Join(t.TempDir(), "named")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
	cmd.Env = append(os.Environ(), "REALHOSTS_KILLED="+named)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var dir []byte
	wait.For(t, "the lab to be up", func() bool { dir, _ = os.ReadFile(named); return len(dir) > 0 })
	groups := groupsOf(t, string(dir))
	if len(groups) == 0 {
		t.Error("a lab without control groups: this test cannot fail")
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	wait.For(t, "its directory to be gone: "+string(dir), func() bool { _, err := os.Stat(string(dir)); return err != nil })
	for _, group := range groups {
		if _, err := os.Stat(group); err == nil {
			t.Errorf("left of the lab: %s", group)
		}
	}
	if left := infratest.ProcessesIn(string(dir)); len(left) > 0 {
		t.Errorf("left of the lab: %v", left)
	}
}

// groupsOf are the control groups of the lab whose state is below dir: others may have labs, too.
func groupsOf(t *testing.T, dir string) (list []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var s struct{ ID string }
		if err := json.Unmarshal(text, &s); err != nil || s.ID == "" {
			t.Fatalf("read %s: %v", file, err)
		}
		for _, pattern := range []string{"/sys/fs/cgroup/*/isukit-", "/sys/fs/cgroup/isukit-"} {
			dirs, _ := filepath.Glob(pattern + s.ID)
			list = append(list, dirs...)
		}
	}
	return list
}
