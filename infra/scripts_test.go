package infra_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/infratest"
)

// fakeMachine is a made-up one for setup.sh: a directory of commands that is the whole PATH, and a root of its own for the
// files that setup.sh looks at and changes.
type fakeMachine struct {
	t              *testing.T
	bin, root, log string
	script         string
}

// tools are the system's own commands that setup.sh uses.
var tools = []string{"sh", "sed", "grep", "tr", "cut", "sort", "comm", "find", "mktemp", "tee", "chmod", "rm", "mv", "cat", "env",
	"mkdir", "ln"}

func newMachine(t *testing.T) *fakeMachine {
	t.Helper()
	dir := t.TempDir()
	m := &fakeMachine{t: t, bin: filepath.Join(dir, "bin"), root: filepath.Join(dir, "root"), log: filepath.Join(dir, "log")}
	m.script = filepath.Join(dir, "setup.sh")
	for _, d := range []string{m.bin, "etc/systemd/system/multi-user.target.wants", "etc/rc3.d", "usr/sbin", "usr/share/keyrings"} {
		if !filepath.IsAbs(d) {
			d = filepath.Join(m.root, d)
		}
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tool := range tools {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(m.bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	m.file("etc/os-release", "ID=debian\n")
	m.copyScript()
	return m
}

// copyScript copies setup.sh with other paths: a test must not change the machine that it runs on.
func (m *fakeMachine) copyScript() {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(infratest.Root(m.t), "scripts/setup.sh"))
	if err != nil {
		m.t.Fatal(err)
	}
	script := string(text)
	for _, r := range [][2]string{
		{"PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin\n", "\n"},
		{" /etc/", " " + m.root + "/etc/"}, {"\t/etc/", "\t" + m.root + "/etc/"},
		{"policy=/usr/sbin/", "policy=" + m.root + "/usr/sbin/"},
		{" /usr/share/", " " + m.root + "/usr/share/"}, {" /run/systemd/", " " + m.root + "/run/systemd/"},
	} {
		if !strings.Contains(script, r[0]) {
			m.t.Fatalf("setup.sh has no %q any more: adapt this test", r[0])
		}
		script = strings.ReplaceAll(script, r[0], r[1])
	}
	infratest.Program(m.t, m.script, []byte(script))
}

func (m *fakeMachine) file(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// command adds a command to the machine.
func (m *fakeMachine) command(name, body string) {
	m.t.Helper()
	infratest.Program(m.t, filepath.Join(m.bin, name), "#!/bin/sh\n"+body+"\n")
}

// apt gives the machine an apt that knows these packages. Installing one makes a command of its name, a unit that is
// wanted at boot and a start link; it fails where services could be started.
func (m *fakeMachine) apt(packages ...string) {
	m.command("id", "echo 0")
	m.command("apt-cache", fmt.Sprintf(`case " %s " in *" $2 "*) echo "  Candidate: 1.0";; *) echo "  Candidate: (none)";; esac`,
		strings.Join(packages, " ")))
	m.command("apt-get", fmt.Sprintf(`echo "apt-get $*" >>%[1]s
[ "$1" = install ] || exit 0
grep -q 'exit 101' %[2]s/usr/sbin/policy-rc.d || { echo "services would start" >&2; exit 1; }
for p; do case $p in -* | install | Dpkg*) continue;; esac
	name=$p
	[ $p != mariadb-server-core ] || name=mariadbd
	printf '#!/bin/sh\n' >%[3]s/$name; chmod 755 %[3]s/$name
	ln -s /lib/systemd/system/$name.service %[2]s/etc/systemd/system/multi-user.target.wants/$name.service
	ln -s ../init.d/$name %[2]s/etc/rc3.d/S01$name
done`, m.log, m.root, m.bin))
}

// run runs setup.sh and returns its exit status and what it said.
func (m *fakeMachine) run(mode string) (code int, said string) {
	m.t.Helper()
	cmd := exec.Command("/bin/sh", m.script, mode)
	cmd.Env = []string{"PATH=" + m.bin, "TMPDIR=" + m.t.TempDir()}
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		m.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// links lists the names of what starts at boot.
func (m *fakeMachine) links() string {
	m.t.Helper()
	var names []string
	for _, pattern := range []string{"etc/systemd/system/*.wants/*", "etc/rc3.d/*"} {
		found, err := filepath.Glob(filepath.Join(m.root, pattern))
		if err != nil {
			m.t.Fatal(err)
		}
		for _, f := range found {
			names = append(names, filepath.Base(f))
		}
	}
	return strings.Join(names, " ")
}

func wantSaid(t *testing.T, said string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("setup.sh said:\n%s\nwant %q in it", said, w)
		}
	}
}

func TestSetupSaysWhatIsMissing(t *testing.T) {
	m := newMachine(t)
	m.command("id", "echo 1000")
	code, said := m.run("run")
	if code != 1 {
		t.Errorf("without apt: got exit status %d, want 1", code)
	}
	wantSaid(t, said, "apt-get not found", "nginx: package nginx", "database: package mariadb-server-core with mariadb-client-core or mariadb-server", "hint: ")

	m.apt("nginx", "mariadb-server-core")
	m.command("id", "echo 1000")
	if code, said = m.run("run"); code != 1 {
		t.Errorf("without root and sudo: got exit status %d, want 1", code)
	}
	wantSaid(t, said, "not root, and sudo not found", "nginx: package nginx", "hint: as root: ")

	m.command("sudo", "exit 1")
	if code, said = m.run("run"); code != 1 {
		t.Errorf("with a sudo that wants a password: got exit status %d, want 1", code)
	}
	wantSaid(t, said, "sudo asks for a password")
	if _, err := os.Stat(m.log); !os.IsNotExist(err) {
		t.Errorf("apt-get was called (%v)", err)
	}
	if code, _ := m.run("everything"); code != 2 {
		t.Errorf("unknown mode: got exit status %d, want 2", code)
	}
}

func TestSetupInstalls(t *testing.T) {
	const ownPolicy = "#!/bin/sh\necho mine\nexit 0\n"
	for name, policy := range map[string]string{"without a policy": "", "with a policy": ownPolicy} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.apt("nginx", "mariadb-server-core")
			if policy != "" {
				m.file("usr/sbin/policy-rc.d", policy)
			}
			m.file("etc/rc3.d/S01before", "")
			code, said := m.run("run")
			if code != 0 {
				t.Fatalf("got exit status %d:\n%s", code, said)
			}
			wantSaid(t, said, "missing: nginx database", "apt-get install: nginx mariadb-server-core mariadb-client-core", "not starting at boot: ")
			if got, want := m.links(), "K01mariadb-client-core K01mariadbd K01nginx S01before"; got != want {
				t.Errorf("what starts at boot: got %s, want %s", got, want)
			}
			text, err := os.ReadFile(filepath.Join(m.root, "usr/sbin/policy-rc.d"))
			if string(text) != policy || policy == "" && !os.IsNotExist(err) {
				t.Errorf("policy-rc.d afterwards: got %q, %v; want %q", text, err, policy)
			}

			if err := os.Remove(m.log); err != nil {
				t.Fatal(err)
			}
			if code, said := m.run("run"); code != 0 || said != "" {
				t.Errorf("again: got exit status %d, %q; want 0 and silence", code, said)
			}
			if _, err := os.Stat(m.log); !os.IsNotExist(err) {
				t.Errorf("again: apt-get was called (%v)", err)
			}
		})
	}
}

// TestSetupAfterKill: the next setup reverts the policy of one that was killed.
func TestSetupAfterKill(t *testing.T) {
	m := newMachine(t)
	m.apt("nginx", "mariadb-server-core")
	m.file("usr/sbin/policy-rc.d.isukit-saved", "mine")
	m.file("usr/sbin/policy-rc.d", "#!/bin/sh\n# isukit setup: no service starts while packages are installed\nexit 101\n")
	if code, said := m.run("run"); code != 0 {
		t.Fatalf("got exit status %d:\n%s", code, said)
	}
	text, err := os.ReadFile(filepath.Join(m.root, "usr/sbin/policy-rc.d"))
	if err != nil || string(text) != "mine" {
		t.Errorf("policy-rc.d afterwards: got %q, %v; want what was there before the kill", text, err)
	}
}

func TestSetupFails(t *testing.T) {
	m := newMachine(t)
	m.apt("nginx") // no database
	code, said := m.run("run")
	if code != 1 {
		t.Errorf("a package that apt does not know: got exit status %d, want 1", code)
	}
	wantSaid(t, said, "apt knows no package for database", "still missing")

	m = newMachine(t)
	m.apt("nginx", "mariadb-server-core")
	m.command("apt-get", `[ "$1" != install ]`)
	if code, said = m.run("run"); code != 1 {
		t.Errorf("apt-get that fails: got exit status %d, want 1", code)
	}
	wantSaid(t, said, "apt-get install failed")
	if _, err := os.Stat(filepath.Join(m.root, "usr/sbin/policy-rc.d")); !os.IsNotExist(err) {
		t.Errorf("policy-rc.d after a failure: got %v, want none", err)
	}
}

func TestScriptsAreClean(t *testing.T) {
	infratest.Real(t)
	scripts, err := filepath.Glob(filepath.Join(infratest.Root(t), "scripts/*.sh"))
	if err != nil || len(scripts) < 3 {
		t.Fatalf("scripts: got %q, %v", scripts, err)
	}
	if out, err := exec.Command("shellcheck", scripts...).CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
}
