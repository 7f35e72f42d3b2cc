package ssh_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/hosttest"
	"isukit/infra/infratest/realhosts"
)

// insideEnv names the directory with keys and ssh_config for the tests that run inside the lab, where the load generator
// stands: they log in to sshd on the lab's hosts.
const insideEnv = "ISUKIT_SSH_TEST_DIR"

// testProgram is this test binary on the hosts.
const testProgram = "/usr/local/bin/isukit-test"

func TestMain(m *testing.M) {
	hosttest.Program()
	realhosts.Main()
	os.Exit(m.Run())
}

func TestSSH(t *testing.T) {
	t.Parallel()
	inLab(t, "TestInside")
}

func TestSSHSite(t *testing.T) {
	t.Parallel()
	inLab(t, "TestInsideSite", "isukit-app")
}

func TestSSHCommands(t *testing.T) {
	t.Parallel()
	inLab(t, "TestInsideCommands", "isukit", "isukit-app")
}

// inLab makes three hosts with sshd, and runs a test where the load generator stands, with the commands that it needs. Most of it is waiting.
func inLab(t *testing.T, test string, commands ...string) {
	t.Helper()
	lab := realhosts.Start(t, realhosts.Named("a", "b", "jump")...)
	sshConfig(t, lab)
	for _, command := range commands {
		if out, err := exec.Command("go", "build", "-o", lab.Dir, "isukit/cmd/"+command).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", command, err, out)
		}
	}
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		h, err := lab.Host(name)
		if err == nil {
			err = h.Put(t.Context(), testProgram, program, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	var out strings.Builder
	code, err := lab.Attach(t.Context(), "generator", host.Command{
		Argv: []string{os.Args[0], "-test.run", "^" + test + "$", "-test.v", "-test.timeout", "40m"},
		Env:  []string{insideEnv + "=" + lab.Dir, infratest.RealEnv + "=1"}, Dir: lab.Dir,
	}, strings.NewReader(""), &out, &out)
	if err != nil || code != 0 || !strings.Contains(out.String(), "--- PASS: "+test+" ") {
		t.Errorf("the tests inside the lab: exit status %d, %v\n%s", code, err, out.String())
	}
	t.Log(out.String())
}

// sshConfig: a is behind a jump host and needs sudo, b lets root in. The others are faults.
func sshConfig(t *testing.T, lab *realhosts.Lab) {
	t.Helper()
	a, b, jump := lab.Address(t, "a"), lab.Address(t, "b"), lab.Address(t, "jump")
	key, err := os.ReadFile(filepath.Join(lab.Dir, "other.pub"))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"changed_hosts": b + " " + string(key), "no_hosts": ""} {
		if err := os.WriteFile(filepath.Join(lab.Dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var logins []realhosts.Login
	for _, h := range [][6]string{
		{"jump", jump, "isucon", "id", "known_hosts", ""},
		{"a", a, "isucon", "id", "known_hosts", "ProxyJump jump"},
		{"b", b, "root", "id", "known_hosts", ""},
		{"agent", b, "root", "none", "known_hosts", ""},
		{"wrong-key", b, "root", "other", "known_hosts", "IdentitiesOnly yes"},
		{"unknown", b, "root", "id", "no_hosts", ""},
		{"changed", b, "root", "id", "changed_hosts", ""},
		{"nosudo", b, "nosudo", "id", "known_hosts", ""},
		{"alice", b, "alice", "other", "known_hosts", "IdentitiesOnly yes"},
		{"gone", "10.77.0.99", "root", "id", "known_hosts", ""},
		{"refused", b, "root", "id", "known_hosts", "Port 2222"},
		{"zealous", b, "isucon", "id", "known_hosts", "RemoteCommand echo of my own\n  StdinNull yes\n  ForkAfterAuthentication yes\n  SessionType none\n" +
			"  LocalForward 2200 127.0.0.1:22\n  ExitOnForwardFailure yes\n  RequestTTY force\n  PermitLocalCommand yes\n  LocalCommand echo local"},
		{b, b, "root", "id", "known_hosts", ""},
		{"behind-gone", b, "root", "id", "known_hosts", "ProxyJump gone"},
	} {
		logins = append(logins, realhosts.Login{Name: h[0], Address: h[1], User: h[2], Key: h[3], Known: h[4], More: h[5]})
	}
	lab.WriteConfig(t, logins...)
	lab.Must(t, "b", "sed -i '1i echo Welcome; printf %s \"Welcome, \" >&2; printf %s \"and: \"' /home/isucon/.bashrc")
}
