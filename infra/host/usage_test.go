package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"isukit/infra/infratest/wait"
)

func TestParseMachineUsage(t *testing.T) {
	got, err := ParseMachineUsage("cpu  100 1 50 800 20 3 4 10 7 0\n")
	want := MachineUsage{
		Total: 9880 * time.Millisecond, Busy: 1580 * time.Millisecond, IOWait: 200 * time.Millisecond, Steal: 100 * time.Millisecond,
	}
	if err != nil || got != want {
		t.Errorf("ParseMachineUsage: got %+v, %v; want %+v", got, err, want)
	}
	for _, line := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2", "cpu 1 2 3 4 5 6 7 x"} {
		if got, err := ParseMachineUsage(line); err == nil {
			t.Errorf("ParseMachineUsage(%q): got %+v, want an error", line, got)
		}
	}
}

// TestGroupUsages: the CPU time of a group is the same whether the work is done by its first process, by a child that
// lives, or by one that has ended.
func TestGroupUsages(t *testing.T) {
	const work = "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; echo done"
	used := map[string]time.Duration{}
	for name, script := range map[string]string{
		"itself":      work + "; sleep 1000 & wait",
		"child":       "(" + work + "; exec sleep 1000) & wait",
		"ended child": "(" + work + "); sleep 1000 & wait",
	} {
		log := filepath.Join(t.TempDir(), "log")
		cmd := exec.Command("sh", "-c", "exec >"+log+"; "+script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		group := cmd.Process.Pid
		t.Cleanup(func() { syscall.Kill(-group, syscall.SIGKILL); cmd.Wait() })
		// The work is done when the usage does not grow any more.
		wait.For(t, "the work of "+name, func() bool { text, _ := os.ReadFile(log); return len(text) > 0 })
		var u Usage
		wait.For(t, "two processes of "+name+" with some memory", func() bool {
			u = GroupUsages([]int{group})[group]
			return u.Processes >= 2 && u.RSSBytes >= 100<<10
		})
		used[name] = u.CPU
	}
	for name, cpu := range used { // what is not counted is nearly all of it
		if cpu < used["itself"]/5 {
			t.Errorf("CPU time of the same work: %s used %v, itself %v; want about the same", name, cpu, used["itself"])
		}
	}
}

func BenchmarkGroupUsages(b *testing.B) {
	for b.Loop() {
		GroupUsages([]int{1, 2, 3, 4})
	}
}
