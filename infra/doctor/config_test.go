package doctor_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"isukit/infra/doctor"
	"isukit/infra/engine"
	"isukit/infra/engine/mysql"
	"isukit/infra/host/proc"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// serverSays asks the server's own program what it reads, as an account without rights: "--max_connections=77", say.
func serverSays(t *testing.T, file string) string {
	t.Helper()
	cmd := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "mariadbd", "--defaults-file="+file, "--print-defaults")
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "rror") {
		t.Fatalf("mariadbd --print-defaults: %v\n%s", err, out)
	}
	return string(out)
}

// TestConfigIgnored makes option files that a real server ignores, and one that it reads. The server itself decides which.
func TestConfigIgnored(t *testing.T) {
	infratest.Real(t)
	const setting = "[mysqld]\nmax_connections = 77\n"
	for name, c := range map[string]struct {
		make func(t *testing.T, dir, included string)
		want []string // of the finding; none: the server reads it
		fix  string
	}{
		"a plain file": {func(t *testing.T, _, included string) { put(t, included+"/50-isucon.cnf", setting, 0o644) }, nil, ""},
		"a link to a plain file": {func(t *testing.T, dir, included string) {
			put(t, dir+"/repo/my.cnf", setting, 0o644)
			symlink(t, dir+"/repo/my.cnf", included+"/50-isucon.cnf")
		}, nil, ""},
		"writable by all": {func(t *testing.T, _, included string) { put(t, included+"/50-isucon.cnf", setting, 0o666) }, []string{"mode 0666", "max_connections"}, "chmod o-w"},
		"a link to what all may write": {func(t *testing.T, dir, included string) {
			put(t, dir+"/repo/my.cnf", setting, 0o666)
			symlink(t, dir+"/repo/my.cnf", included+"/50-isucon.cnf")
		}, []string{"50-isucon.cnf -> ", "mode 0666"}, "chmod o-w"},
		"a link into a closed directory": {func(t *testing.T, dir, included string) {
			put(t, dir+"/home/my.cnf", setting, 0o644)
			symlink(t, dir+"/home/my.cnf", included+"/50-isucon.cnf")
			chmod(t, dir+"/home", 0o700)
		}, []string{"may not enter", "/home (mode 0700)"}, "install -m 644"},
		"not readable":   {func(t *testing.T, _, included string) { put(t, included+"/50-isucon.cnf", setting, 0o600) }, []string{"may not read it (mode 0600)"}, "chmod 644"},
		"another suffix": {func(t *testing.T, _, included string) { put(t, included+"/50-isucon.conf", setting, 0o644) }, []string{"does not end in .cnf"}, "mv "},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "isukit-test-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			chmod(t, dir, 0o755)
			included := dir + "/conf.d"
			put(t, dir+"/my.cnf", "[mysqld]\nport = 3999\n!includedir "+included+"/\n", 0o644)
			if err := os.MkdirAll(included, 0o755); err != nil {
				t.Fatal(err)
			}
			c.make(t, dir, included)
			says := serverSays(t, dir+"/my.cnf")
			if reads := strings.Contains(says, "max_connections=77") || strings.Contains(says, "max-connections=77"); reads != (c.want == nil) {
				t.Errorf("the server reads it: %t, want %t:\n%s", reads, c.want == nil, says)
			}
			server := doctor.Process{PID: 1, Name: "mariadbd", UID: 65534, GIDs: []int{65534}, Argv: []string{"mariadbd", "--defaults-file=" + dir + "/my.cnf"}}
			options, err := mysql.ReadOptions(t.Context(), here(t), server.Argv)
			if err != nil {
				t.Fatal(err)
			}
			if len(options) != 2 {
				t.Errorf("%d option files, want 2: %+v", len(options), options)
			}
			found := ignored(t, server, options)
			if c.want == nil {
				wantSilence(t, name, found)
				return
			}
			wantFinding(t, name, found, doctor.Warn, c.fix, append(c.want, "max_connections")...)
		})
	}
}

func ignored(t *testing.T, server doctor.Process, options []mysql.OptionFile) []doctor.Finding {
	t.Helper()
	h := doctor.Host{Name: "s1", AppArmor: true, Processes: []doctor.Process{server}, Databases: []doctor.Database{{Name: "db-1", PID: server.PID, Options: options}}}
	return diagnose(t, "config-ignored", &doctor.Observed{Hosts: []doctor.Host{h}})
}

// TestHiddenByTheSystem uses files: not every kernel has AppArmor, and systemd does not run here. What they would do is in a host's output.
func TestHiddenByTheSystem(t *testing.T) {
	infratest.Real(t)
	root := fakeRoot(t, map[string]string{
		"etc/apparmor.d/usr.sbin.mysqld":    "/usr/sbin/mysqld {\n  #include <abstractions/mysql>\n  /etc/mysql/** r,\n  deny /etc/mysql/secret/** r,\n  owner /var/lib/mysql/{,**} rwk,\n}\n",
		"etc/apparmor.d/abstractions/mysql": "  /usr/share/mysql{,-8.0}/** r,\n",
	})
	server := doctor.Process{PID: 1, Name: "mysqld", UID: 100, Unit: "mysql.service", Profile: "/usr/sbin/mysqld (enforce)"}
	rules, err := doctor.LookAtProfile(t.Context(), here(t), root, server)
	if err != nil {
		t.Fatal(err)
	}
	server.Rules = rules
	open := []engine.Directory{{Path: "/", Mode: 0o755}}
	file := func(real string) []mysql.OptionFile {
		return []mysql.OptionFile{{File: engine.File{Path: "/etc/mysql/conf.d/a.cnf", Real: real, Mode: 0o644, Parents: open, Text: "[mysqld]\nmax_connections=1\n"}}}
	}
	wantSilence(t, "in the profile", ignored(t, server, file("/etc/mysql/conf.d/a.cnf")))
	wantSilence(t, "in what it includes", ignored(t, server, file("/usr/share/mysql-8.0/x/a.cnf")))
	wantFinding(t, "not in it", ignored(t, server, file("/srv/isucon/a.cnf")), doctor.Warn, "install -m 644", "AppArmor", "/usr/sbin/mysqld (enforce)")
	wantFinding(t, "denied", ignored(t, server, file("/etc/mysql/secret/a.cnf")), doctor.Warn, "install -m 644", "AppArmor")
	server.Profile, server.ProtectHome = "", "yes"
	wantSilence(t, "outside of /home", ignored(t, server, file("/srv/isucon/a.cnf")))
	wantFinding(t, "in /home", ignored(t, server, file("/home/isucon/a.cnf")), doctor.Warn, "install -m 644", "mysql.service has ProtectHome=yes")
	server.ProtectHome = "read-only"
	wantSilence(t, "readable /home", ignored(t, server, file("/home/isucon/a.cnf")))
}

// TestMitigations uses files: grub is not installed here.
func TestMitigations(t *testing.T) {
	infratest.Real(t)
	boot := func(cmdline, grub string) []doctor.Finding {
		root := fakeRoot(t, map[string]string{
			"proc/cmdline": cmdline + "\n", "etc/default/grub": "GRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX=\"\"\n",
			"etc/default/grub.d/99-isucon.cfg": grub, "sys/devices/system/cpu/vulnerabilities/spectre_v2": "Vulnerable, IBPB: disabled\n",
		})
		return diagnose(t, "mitigations", &doctor.Observed{Hosts: []doctor.Host{look(t, here(t), doctor.LookOptions{Root: root})}})
	}
	const off = "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX mitigations=off\"\n"
	wantSilence(t, "the default", boot("BOOT_IMAGE=/vmlinuz ro quiet", ""))
	wantFinding(t, "not in force", boot("BOOT_IMAGE=/vmlinuz ro quiet", off), doctor.Warn, "update-grub && reboot", "not in force")
	wantFinding(t, "off", boot("ro mitigations=off", off), doctor.Note, "rules", "mitigations=off")
	wantSilence(t, "this kernel", diagnose(t, "mitigations", &doctor.Observed{Hosts: []doctor.Host{look(t, here(t), doctor.LookOptions{})}}))
}

// TestCPUOthers starts a process that spins in the lab, stops it as the finding says, and lets it go on.
func TestCPUOthers(t *testing.T) {
	t.Parallel()
	n := withNothing(t)
	wantSilence(t, "nobody", diagnose(t, "cpu-others", observed(look(t, n, doctor.LookOptions{Over: lookLong}))))
	pid := spin(t, n)
	var found []doctor.Finding
	wait.For(t, "some CPU time for it", func() bool {
		h := look(t, n, doctor.LookOptions{Over: lookLong})
		for _, p := range h.Processes {
			if p.PID == pid {
				h.Over = p.CPU // what it gets of a machine that others load, too, is a whole CPU to it
			}
		}
		found = diagnose(t, "cpu-others", observed(h))
		return len(found) > 0
	})
	wantFinding(t, "a spinning shell", found, doctor.Warn, fmt.Sprintf("isukit doctor stop %d", pid), fmt.Sprint(pid), "of a CPU")
	wantSilence(t, "an instance's", diagnose(t, "cpu-others", observed(look(t, n, doctor.LookOptions{Over: lookLong, Roles: map[int]string{pid: "web-1"}}))))

	stops := doctor.Stops{Host: here(t), Keeper: here(t), File: filepath.Join(t.TempDir(), "doctor", "stopped.json")}
	if _, err := stops.Stop(t.Context(), fmt.Sprint(pid), when); err != nil {
		t.Fatal(err)
	}
	var kept []doctor.Stopped
	if text, err := os.ReadFile(stops.File); err != nil || json.Unmarshal(text, &kept) != nil || len(kept) != 1 || kept[0].PID != pid {
		t.Errorf("the record: %v %+v", err, kept)
	}
	wantSilence(t, "stopped", diagnose(t, "cpu-others", observed(look(t, n, doctor.LookOptions{Over: lookLong}))))
	if done, err := stops.StartAll(t.Context()); err != nil || len(done) != 1 || done[0].Gone {
		t.Errorf("start: %+v %v", done, err)
	}
	if st, err := proc.Read(pid); err != nil || st.State == 'T' {
		t.Errorf("it is %c after start (%v)", st.State, err)
	}
	// A process that is gone is reported so; another one with its id would not be touched.
	if _, err := stops.Stop(t.Context(), fmt.Sprint(pid), when); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wait.For(t, "its end", func() bool { _, err := proc.Read(pid); return err != nil })
	if done, err := stops.StartAll(t.Context()); err != nil || len(done) != 1 || !done[0].Gone {
		t.Errorf("start of what is gone: %+v %v", done, err)
	}
	for _, what := range []string{fmt.Sprint(os.Getpid()), "1", "999999999", "x"} {
		if _, err := stops.Stop(t.Context(), what, when); err == nil {
			t.Errorf("stop %s is taken", what)
		}
	}
}
