package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/realhosts"
	"isukit/infra/infratest/wait"
)

// virtualMachine is a host with a kernel of its own: qemu, which runs where the lab's generator stands. scripts/get-vm.sh has made its
// disk, at whose address it is.
type virtualMachine struct {
	realSite
	qemu   host.Host // where it runs
	files  string    // of get-vm.sh
	disk   string
	booted int
	off    func() // takes the power away
}

// bootLimit is how long the machine may take until all is up: half a minute of CPU time, on a machine that is shared.
const bootLimit = 20 * time.Minute

const vmAddress = "10.77.0.21"

// newVirtualMachine boots it, and host a, which reaches it through the laptop.
func newVirtualMachine(t *testing.T) *virtualMachine {
	t.Helper()
	program, env, _ := topologyEnv(t)
	files := filepath.Join(infratest.Root(t), ".local", "vm")
	if _, err := os.Stat(filepath.Join(files, "version")); err != nil {
		t.Fatalf("no virtual machine: %v (sh scripts/get-vm.sh)", err)
	}
	v := &virtualMachine{files: files, realSite: realSite{lab: realhosts.Start(t, realhosts.Named("a")...), program: program, dir: t.TempDir()}}
	v.disk = filepath.Join(v.lab.Dir, "disk")
	var err error
	if v.qemu, err = v.lab.Host("generator"); err != nil {
		t.Fatal(err)
	}
	a := v.lab.Address(t, "a")
	if !strings.HasPrefix(a, "10.77.0.") || a == vmAddress {
		t.Fatalf("host a has the address %s, which is not beside %s", a, vmAddress)
	}
	// The machine's link is the laptop's, which answers for it in the lab, and the other way round.
	v.lab.Must(t, "generator", "cp --sparse=always "+files+"/disk "+v.disk+` && ip tuntap add tap0 mode tap && ip link set tap0 mtu 9000 up && ip addr add 10.77.0.1/32 dev tap0 &&
ip route add `+vmAddress+` dev tap0 && sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.proxy_arp=1 net.ipv4.conf.tap0.proxy_arp=1 net.ipv4.conf.eth0.proxy_arp=1 net.ipv4.conf.all.send_redirects=0`)
	known, err := os.ReadFile(filepath.Join(files, "known_hosts"))
	if err == nil {
		err = os.WriteFile(filepath.Join(v.lab.Dir, "known_vm"), known, 0o600)
	}
	key, keyErr := os.ReadFile(filepath.Join(files, "id"))
	if err == nil && keyErr == nil {
		err = os.WriteFile(filepath.Join(v.lab.Dir, "vm"), key, 0o600)
	}
	infratest.NoError(t, err)
	config := v.lab.WriteConfig(t, realhosts.Login{Name: "a", Address: a, User: "isucon", Key: "id", Known: "known_hosts"},
		realhosts.Login{Name: "vm", Address: vmAddress, User: "isucon", Key: "vm", Known: "known_vm"})
	counting, trips := countTrips(t, v.lab.Dir, "0")
	v.trips = trips
	for _, assignment := range env {
		if strings.HasPrefix(assignment, "ISUKIT_") {
			v.env = append(v.env, assignment)
		}
	}
	v.env = append(append(v.env, "ISUKIT_SSH_CONFIG="+config, "HOME="+t.TempDir(), "ISUKIT_RESULTS_DIR="+filepath.Join(v.dir, "rounds")), counting...)
	v.boot(t)
	return v
}

// boot switches the machine on and waits for its sshd; what it says at its console is in the log of a test that fails.
func (v *virtualMachine) boot(t *testing.T) {
	t.Helper()
	v.booted++
	q, program := filepath.Join(v.files, "qemu", "usr"), "qemu-system-x86_64"
	var env []string
	var argv []string
	if _, err := os.Stat(q); err == nil {
		program = filepath.Join(q, "bin", program)
		env = []string{"LD_LIBRARY_PATH=" + filepath.Join(q, "lib", "x86_64-linux-gnu")}
		argv = []string{"-L", filepath.Join(q, "share", "qemu"), "-L", filepath.Join(q, "share", "seabios")}
	}
	argv = append(append([]string{program}, argv...), "-machine", "pc,accel=tcg", "-cpu", "max", "-smp", "1", "-m", "1536", "-nodefaults", "-no-user-config", "-display", "none",
		"-serial", "stdio", "-kernel", filepath.Join(v.files, "vmlinuz"), "-initrd", filepath.Join(v.files, "initrd"), "-append", "console=ttyS0 loglevel=5 net.ifnames=0",
		"-drive", "file="+v.disk+",if=none,id=disk,format=raw", "-device", "virtio-blk-pci,drive=disk", "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=net")
	ctx, cut := context.WithCancel(context.Background())
	gone := make(chan error, 1)
	go func() {
		console, err := os.Create(v.console())
		if err == nil {
			err = v.qemu.Pipe(ctx, host.Command{Argv: argv, Env: env, Dir: v.dir}, nil, console)
		}
		gone <- errors.Join(err, console.Close())
	}()
	v.off = sync.OnceFunc(func() {
		cut()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("qemu: %v", err)
		}
	})
	t.Cleanup(v.off)
	v.awake(t)
}

func (v *virtualMachine) console() string {
	return filepath.Join(v.dir, fmt.Sprintf("console-%d", v.booted))
}

// awake waits until the machine lets its user in.
func (v *virtualMachine) awake(t *testing.T) {
	t.Helper()
	began := time.Now()
	err := host.Until(t.Context(), bootLimit, time.Second, func(context.Context) error {
		if code, out := v.try(t, "systemctl is-system-running --wait || true"); code != 0 {
			return errors.New(out)
		}
		return nil
	})
	t.Logf("%.0f s: boot", time.Since(began).Seconds())
	if err != nil {
		console, _ := os.ReadFile(v.console())
		t.Fatalf("the virtual machine does not boot: %v\n%s", err, host.Tail(console, 40))
	}
}

// try runs a script on the machine as root, over a connection that stays.
func (v *virtualMachine) try(t *testing.T, script string) (code int, out string) {
	t.Helper()
	res, err := v.qemu.Run(t.Context(), host.Command{Argv: []string{"/usr/bin/ssh", "-F", filepath.Join(v.lab.Dir, "config"), "-o", "BatchMode=yes", "-o", "ConnectTimeout=60",
		"-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8", "-o", "ControlMaster=auto", "-o", "ControlPersist=600", "-o", "ControlPath=" + filepath.Join(v.dir, "c"), "vm", "sudo -n sh -s"}, Stdin: []byte(script)})
	infratest.NoError(t, err)
	if res.Code != 0 {
		return res.Code, string(res.Stdout) + string(res.Stderr)
	}
	return 0, string(res.Stdout)
}

// on is try for a script that must succeed. A connection that is not made, as on a busy machine, is tried again.
func (v *virtualMachine) on(t *testing.T, script string) string {
	t.Helper()
	for range 10 {
		code, out := v.try(t, script)
		if code == 0 {
			return out
		}
		if code != 255 {
			t.Fatalf("%s: exit status %d: %s", script, code, out)
		}
	}
	t.Fatal("the virtual machine does not answer")
	return ""
}

// most runs isukit and wants it to have gone to the machine at most as often.
func (v *virtualMachine) most(t *testing.T, most int, args ...string) string {
	t.Helper()
	os.Remove(v.trips)
	out := v.isukit(t, ui.ExitOK, args...)
	n := trips(t, v.trips)
	t.Logf("scripts %v", n)
	if n["vm"] > most {
		t.Errorf("isukit %s: got %d round trips to the machine, want at most %d", strings.Join(args, " "), n["vm"], most)
	}
	return out
}

// powerCut ends the machine without a word to it, and switches it on again. What isukit has done is on its disk.
func (v *virtualMachine) powerCut(t *testing.T) {
	t.Helper()
	v.off()
	v.boot(t)
}

// vmSettings are what a kernel of its own lets be set, which the lab's hosts have read-only.
const vmSettings = `sysctl vm.swappiness vm.dirty_background_ratio fs.file-max fs.nr_open net.core.somaxconn net.ipv4.ip_local_port_range net.ipv4.tcp_fin_timeout
cat /sys/kernel/mm/transparent_hugepage/enabled /sys/class/net/eth0/mtu
for unit in $(cd /etc/systemd/system && ls -d isukit-*.service 2>/dev/null); do grep -h 'Max open files' /proc/$(systemctl show -p MainPID --value $unit)/limits; done`

// TestVirtualMachine sees what only a kernel of its own shows, once before a release: settings of vm and fs, hugepages, MTU, control
// groups of version 2, AppArmor, a reboot and a loss of power. Its processor is emulated, so it is a slow host as well.
func TestVirtualMachine(t *testing.T) {
	if os.Getenv("ISUKIT_VM") == "" {
		t.Skip("a quarter of an hour: make stress-vm runs it")
	}
	infratest.Real(t)
	v := newVirtualMachine(t)
	t.Logf("%s", v.on(t, `uname -r; stat -fc 'cgroup: %T' /sys/fs/cgroup; echo "AppArmor: $(cat /sys/module/apparmor/parameters/enabled)"; modprobe sch_netem && echo netem; systemd-analyze | head -n 1`))
	// Debian's limits are as large as those of the tuning.
	v.on(t, "printf 'fs.file-max = 200000\nfs.nr_open = 524288\n' >/etc/sysctl.d/10-small.conf && sysctl -q --system && useradd -r mysql && userdel mysql && touch -d '1 minute ago' /etc/isukit-test-began")
	before, plain := v.state(t), v.on(t, vmSettings)

	v.confine(t)
	file := filepath.Join(v.dir, "vm.yaml")
	write(t, file, "{name: vm, hosts: [{name: a, address: a}, {name: vm, address: vm}], roles: {proxy: [{host: a}], web: [{host: a}], api: [{host: vm}], db: [{host: vm}]}}")
	v.isukit(t, ui.ExitOK, "topology", "apply", file, "--driver", "ssh", "-q")
	if held := v.on(t, `for p in $(pgrep mariadbd); do readlink /proc/$p/exe; cat /proc/$p/attr/current; done`); !strings.Contains(held, "/var/lib/isukit/") || !strings.Contains(held, "unconfined") {
		t.Errorf("the database under AppArmor's profile: %s", held)
	}
	v.most(t, 6, "topology", "apply", file, "--driver", "ssh", "-q")
	v.most(t, 3, "topology", "status", "--driver", "ssh")

	tunings := []string{"sysctl/memory", "sysctl/files", "sysctl/hugepages", "sysctl/backlog", "sysctl/ports", "sysctl/fin-timeout", "limits/nofile"}
	v.most(t, 4, append(append([]string{"tune", "apply"}, tunings...), "--driver", "ssh")...)
	tuned := v.on(t, vmSettings)
	for _, want := range []string{"vm.swappiness = 10\n", "vm.dirty_background_ratio = 5\n", "fs.file-max = 2097152\n", "fs.nr_open = 1048576\n", "net.core.somaxconn = 8192\n", "10240\t65535", "tcp_fin_timeout = 15\n", "[madvise]", "65536 "} {
		if !strings.Contains(tuned, want) || strings.Contains(plain, want) {
			t.Errorf("the tuned machine: no %q in %s, or in what was before: %s", want, tuned, plain)
		}
	}
	if out := v.isukit(t, ui.ExitOK, "tune", "apply", "link/mtu", "--accept-risk", "link/mtu", "--driver", "ssh"); !strings.Contains(out, "until the host boots") {
		t.Errorf("tune apply link/mtu:\n%s", out)
	}
	if mtu := v.on(t, "cat /sys/class/net/eth0/mtu"); mtu != "9000\n" {
		t.Errorf("the MTU is %s", mtu)
	}
	v.isukit(t, ui.ExitOK, "tune", "verify", "--driver", "ssh")
	v.isukit(t, ui.ExitOK, "tune", "revert", "link/mtu", "--driver", "ssh")

	url := "http://" + v.lab.Address(t, "a") + ":8080"
	if out := v.isukit(t, ui.ExitOK, "topology", "verify", "--driver", "ssh", "--reboot", "each", "--no-ask", "--duration", "2s"); !strings.Contains(out, "everything matches the applied topology") {
		t.Errorf("verify --reboot each:\n%s", out)
	}
	v.back(t, url, tuned)
	v.powerCut(t)
	v.back(t, url, tuned)

	v.limits(t, file)
	v.symlinked(t)

	v.isukit(t, ui.ExitOK, "tune", "revert", "--all", "--driver", "ssh")
	files := regexp.MustCompile(`(?m)^Max open files.*\n`)
	if diff := gocmp.Diff(files.ReplaceAllString(plain, ""), files.ReplaceAllString(v.on(t, vmSettings), "")); diff != "" {
		t.Errorf("after tune revert (-before +after):\n%s", diff)
	}
	v.isukit(t, ui.ExitOK, "topology", "down", "--driver", "ssh", "-q")
	v.on(t, "apparmor_parser -R /etc/apparmor.d/usr.sbin.mariadbd; rm -f /etc/apparmor.d/usr.sbin.mariadbd; sync /etc/apparmor.d")
	v.powerCut(t) // nothing comes back
	now := ""
	wait.Within(func() bool { now = v.state(t); return now == before })
	if was, is := strings.Split(before, "\n"), strings.Split(now, "\n"); now != before {
		without := func(list, others []string) []string {
			return slices.DeleteFunc(slices.Clone(list), func(line string) bool { return slices.Contains(others, line) })
		}
		t.Errorf("the machine is not as it was; gone: %q; new: %q", without(was, is), without(is, was))
	}
	if diff := gocmp.Diff(plain, v.on(t, vmSettings)); diff != "" {
		t.Errorf("settings after a boot (-before +after):\n%s", diff)
	}
}

// state is serverState without threads of the kernel, which come and go. systemd lists its units once it answers in time.
func (v *virtualMachine) state(t *testing.T) (text string) {
	t.Helper()
	wait.For(t, "systemd's list of units", func() bool {
		text = regexp.MustCompile(`(?m)^root +\[.*\]\n`).ReplaceAllString(v.on(t, serverState), "")
		return strings.Contains(text, "\nmulti-user.target static\n")
	})
	return text
}

// confine has AppArmor hold the database server to its system's directories.
func (v *virtualMachine) confine(t *testing.T) {
	t.Helper()
	v.on(t, `cat >/etc/apparmor.d/usr.sbin.mariadbd <<'END'
#include <tunables/global>
/usr/sbin/mariadbd {
  #include <abstractions/base>
  capability,
  network,
  signal,
  unix,
  /usr/** mr,
  /etc/** r,
  /proc/** r,
  /sys/** r,
  /dev/** rw,
  /tmp/** rwk,
  /run/mysqld/** rwk,
  /var/lib/mysql/ r,
  /var/lib/mysql/** rwk,
}
END
apparmor_parser -r /etc/apparmor.d/usr.sbin.mariadbd
! runuser -u isucon -- /usr/sbin/mariadbd --no-defaults --bootstrap --datadir=/home/isucon </dev/null >/dev/null 2>&1`)
}

// back wants everything to be there after a boot, first without isukit.
func (v *virtualMachine) back(t *testing.T, url, tuned string) {
	t.Helper()
	infratest.NoError(t, host.Until(t.Context(), bootLimit, time.Second, func(context.Context) error {
		status := v.lab.Must(t, "generator", "curl -s -m 10 -o /dev/null -w '%{http_code}' "+url+"/api/leaderboard || true")
		if status != "200" {
			return fmt.Errorf("the status of the portal is %q", status)
		}
		return nil
	}))
	if diff := gocmp.Diff(tuned, v.on(t, vmSettings)); diff != "" {
		t.Errorf("settings after a boot (-before +after):\n%s", diff)
	}
	v.isukit(t, ui.ExitOK, "topology", "verify", "--driver", "ssh")
	v.isukit(t, ui.ExitOK, "tune", "verify", "--driver", "ssh")
}

// limits has control groups of version 2 hold what runs on the machine to a part of it.
func (v *virtualMachine) limits(t *testing.T, file string) {
	t.Helper()
	pool := func() string {
		return v.on(t, `grep -h innodb_buffer_pool_size /var/lib/isukit/db-1/my.cnf`)
	}
	before := pool()
	v.on(t, "systemctl set-property system.slice CPUQuota=50% MemoryMax=900M")
	v.isukit(t, ui.ExitOK, "topology", "apply", file, "--driver", "ssh", "-q")
	if status := v.isukit(t, ui.ExitOK, "topology", "status", "--driver", "ssh", "--json"); !strings.Contains(status, `"cpus": 0.5`) || !strings.Contains(status, `"memory_bytes": 943718400`) {
		t.Errorf("half a CPU and 900 MiB are what the machine's services may use; the status says:\n%s", status)
	}
	if after := pool(); after == before {
		t.Errorf("the database's size is the same with 900 MiB as with 1.5 GiB: %s", after)
	}
	v.on(t, "systemctl set-property system.slice CPUQuota= MemoryMax=infinity && rm -rf /etc/systemd/system.control/system.slice.d && systemctl daemon-reload")
	v.isukit(t, ui.ExitOK, "topology", "apply", file, "--driver", "ssh", "-q")
}

// symlinked has a database of the system's whose option file is a link to a directory that AppArmor hides from it. The server ignores the
// file silently; doctor reports it, and a tuning written to it is not reported as applied.
func (v *virtualMachine) symlinked(t *testing.T) {
	t.Helper()
	v.on(t, `useradd -r -d /var/lib/mysql -s /usr/sbin/nologin mysql
install -d -o mysql /var/lib/mysql /run/mysqld
printf '[mariadbd]\nmax_connections = 77\n' >/home/isucon/linked.cnf && chmod 755 /home/isucon && chmod 644 /home/isucon/linked.cnf
ln -s /home/isucon/linked.cnf /etc/mysql/conf.d/linked.cnf
printf '[Service]\nUser=mysql\nRuntimeDirectory=mysqld\nType=notify\nTimeoutStartSec=900\nExecStart=/usr/sbin/mariadbd --port=3399\n' >/etc/systemd/system/maria.service
mariadb-install-db --no-defaults --user=mysql --datadir=/var/lib/mysql --skip-test-db >/tmp/install 2>&1 || { cat /tmp/install; exit 1; }
systemctl daemon-reload && systemctl start maria || { journalctl -u maria --no-pager | tail -n 20; exit 1; }`)
	project := filepath.Join(v.dir, "isukit.yaml")
	write(t, project, "name: p\nhosts: [{name: vm, address: vm}]\ndatabases: [{host: vm, client: sudo mariadb, cnf: /etc/mysql/conf.d/linked.cnf, unit: maria}]\nbenchmark: {command: \"true\", score: {json: .score}}\n")
	defer os.Remove(project)
	if held := v.on(t, "cat /proc/$(systemctl show -p MainPID --value maria)/attr/current; mariadb -e 'SELECT @@max_connections'"); !strings.Contains(held, "/usr/sbin/mariadbd (enforce)") || strings.Contains(held, "77") {
		t.Errorf("the system's database is not held by AppArmor: %s", held)
	}
	if out := v.isukit(t, anyCode, "doctor", "--only", "config-ignored"); !strings.Contains(out, "/etc/mysql/conf.d/linked.cnf -> /home/isucon/linked.cnf") ||
		!strings.Contains(out, "AppArmor's profile /usr/sbin/mariadbd (enforce) does not let the server read it") {
		t.Errorf("doctor about a link that AppArmor does not follow:\n%s", out)
	}
	for _, command := range [][]string{{"apply", "mysql/durability-relaxed"}, {"verify"}} {
		if out := v.isukit(t, anyCode, append(append([]string{"tune"}, command...), "--yes")...); !strings.Contains(out, "the server does not read it") {
			t.Errorf("tune %s with a file that the server ignores:\n%s", command[0], out)
		}
	}
	t.Logf("tune revert: %s", v.isukit(t, anyCode, "tune", "revert", "--all", "--yes"))
	v.on(t, `printf '[mariadbd]\nmax_connections = 77\n' | cmp - /home/isucon/linked.cnf && [ -L /etc/mysql/conf.d/linked.cnf ]
systemctl stop maria; rm -rf /etc/systemd/system/maria.service /etc/mysql/conf.d/linked.cnf /home/isucon/linked.cnf /var/lib/mysql /run/mysqld; systemctl daemon-reload; userdel mysql; chmod 700 /home/isucon`)
}
