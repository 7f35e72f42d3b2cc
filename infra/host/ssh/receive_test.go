package ssh_test

import (
	"os/exec"
	"strings"
	"testing"

	"isukit/infra/host/ssh"
)

// TestScriptCutShort gives a host every beginning of a script: only all of it is run, as the rest of a line may mean something else.
func TestScriptCutShort(t *testing.T) {
	t.Parallel()
	whole := ssh.ToReceive("echo one\nread -r line\necho two \"$line\"\n")
	for n := 0; n <= len(whole); n++ {
		cmd := exec.Command("sh", "-c", ssh.Receive)
		cmd.Stdin = strings.NewReader(whole[:n])
		out, err := cmd.Output()
		ran := strings.Contains(string(out), "one")
		if all := n == len(whole); ran != all || all && err != nil || !all && err == nil {
			t.Errorf("the first %d of %d bytes: %q, %v", n, len(whole), out, err)
		}
	}
	cmd := exec.Command("sh", "-c", ssh.Receive)
	cmd.Stdin = strings.NewReader(whole + "input\n")
	if out, err := cmd.Output(); err != nil || !strings.HasSuffix(string(out), "one\ntwo input\n") {
		t.Errorf("with its input: %q, %v", out, err)
	}
}
