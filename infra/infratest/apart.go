package infratest

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// apartEnv holds the name of the test that runs apart.
const apartEnv = "ISUKIT_TEST_APART"

// apartScript makes the new namespaces usable, and names of network namespaces their own.
const apartScript = `ip link set lo up; mount --make-rprivate /; mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; exec "$0" "$@"`

// Apart runs a test in a process with network and mount namespaces of its own: what others on the machine do meanwhile is not seen
// there. It is true inside; outside it has run the test, with more in its environment, and reports as that did. It needs root.
func Apart(t *testing.T, env ...string) bool {
	t.Helper()
	if os.Getenv(apartEnv) == t.Name() {
		return true
	}
	cmd := exec.Command("sh", "-ec", apartScript, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=40m")
	cmd.Env = append(append(os.Environ(), apartEnv+"="+t.Name()), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the kernel ties the death signal to it
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("in namespaces of its own (root is needed): %v\n%s", err, out)
	}
	t.Logf("%s", out)
	return false
}
