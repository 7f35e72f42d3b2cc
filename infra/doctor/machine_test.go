package doctor_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"isukit/infra/doctor"
	"isukit/infra/host"
	"isukit/infra/host/proc"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// TestFileLimits lets connections bring real proxies near to their limit.
func TestFileLimits(t *testing.T) {
	t.Parallel()
	t.Run("nginx", func(t *testing.T) {
		n := infratest.StartNginx(t, "", "location / { return 204; }")
		var workers []proc.Stat
		wait.For(t, "nginx to have its worker", func() bool { // the master listens before it forks
			workers = proc.Children(n.PID())
			return len(workers) == 1
		})
		nearLimit(t, "proxy-1", workers[0].PID, n.Addr, 1, doctor.Warn)
	})
	t.Run("envoy", func(t *testing.T) {
		origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer origin.Close()
		pid, addr := startEnvoy(t, origin.Listener.Addr().String())
		nearLimit(t, "proxy-2", pid, addr, 2, doctor.Crit)
	})
}

// nearLimit wants silence about a process, lowers its limit, and holds connections open until it warns. Each takes so many files.
func nearLimit(t *testing.T, role string, pid int, addr string, each int, want doctor.Severity) {
	t.Helper()
	at, roles := here(t), map[int]string{pid: role}
	findings := func() (mine []doctor.Finding) {
		for _, f := range diagnose(t, "file-limits", &doctor.Observed{Hosts: []doctor.Host{look(t, at, doctor.LookOptions{Roles: roles})}}) {
			if strings.Contains(f.Subject, role) {
				mine = append(mine, f)
			}
		}
		return mine
	}
	wantSilence(t, "before", findings())

	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	limit := uint64(len(fds) + 60)
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
		t.Fatal(err)
	}
	for range (int(0.88*float64(limit)) - len(fds)) / each {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	wait.For(t, "the connections to be accepted", func() bool {
		now, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		return float64(len(now)) >= 0.8*float64(limit)
	})
	wantFinding(t, "near the limit", findings(), want, strconv.Itoa(pid), fmt.Sprint(limit), "files open of at most")
}

// startEnvoy starts an Envoy that passes connections on, and returns its process and address.
func startEnvoy(t *testing.T, origin string) (pid int, addr string) {
	t.Helper()
	infratest.Real(t)
	path := filepath.Join(infratest.Root(t), ".local", "envoy", "bin", "envoy")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v (hint: make envoy)", err)
	}
	port := infratest.FreePort(t)
	to, toPort, _ := net.SplitHostPort(origin)
	conf := filepath.Join(t.TempDir(), "envoy.yaml")
	text := fmt.Sprintf(`static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c}
  clusters:
  - name: c
    load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]}
`, port, to, toPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	log := filepath.Join(t.TempDir(), "envoy.log")
	infratest.StartProcess(t, []string{path, "-c", conf, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn"}, log, syscall.SIGTERM, func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
	for _, p := range proc.List(func(s proc.Stat) bool { return true }) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		if strings.Contains(string(cmdline), conf) {
			return p.PID, addr
		}
	}
	t.Fatal("envoy is not among the processes")
	return 0, ""
}

// TestDiskFull fills the disk of a real database.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	db := infratest.StartDBOn(t, 512, infratest.Engines(t)[0])
	mount := filepath.Dir(db.Dir())
	at := here(t)
	findings := func() (mine []doctor.Finding) {
		for _, f := range diagnose(t, "disk-full", &doctor.Observed{Hosts: []doctor.Host{look(t, at, doctor.LookOptions{})}}) {
			if f.Subject == mount {
				mine = append(mine, f)
			}
		}
		return mine
	}
	wantSilence(t, "room", findings())
	var st unix.Statfs_t
	if err := unix.Statfs(mount, &st); err != nil {
		t.Fatal(err)
	}
	free := int64(st.Bavail) * st.Bsize
	if err := os.WriteFile(filepath.Join(mount, "capture.pcap"), make([]byte, free-8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFinding(t, "8 MiB left", findings(), doctor.Crit, "du -xh", "98 % full")
}

// TestSwap uses files: this kernel may have no swap, and giving it one would change the machine.
func TestSwap(t *testing.T) {
	t.Parallel()
	infratest.Real(t)
	swap := func(freeKiB int) []doctor.Finding {
		root := fakeRoot(t, map[string]string{
			"proc/meminfo": fmt.Sprintf("MemTotal: 2000000 kB\nSwapTotal: 1000000 kB\nSwapFree: %d kB\n", freeKiB),
			"proc/vmstat":  "pswpin 10\npswpout 20\n",
		})
		return diagnose(t, "swap", &doctor.Observed{Hosts: []doctor.Host{look(t, here(t), doctor.LookOptions{Root: root})}})
	}
	wantSilence(t, "a little", swap(990000))
	wantFinding(t, "a part", swap(900000), doctor.Note, "swapoff", "97.7 MiB of swap in use")
	moving := doctor.Host{Name: "s1", SwapUsed: 1 << 20, SwapIn: 30, SwapOut: 4}
	wantFinding(t, "moving", diagnose(t, "swap", &doctor.Observed{Hosts: []doctor.Host{moving}}), doctor.Warn, "swapoff", "30 pages in and 4 out")
	wantSilence(t, "this kernel", diagnose(t, "swap", &doctor.Observed{Hosts: []doctor.Host{look(t, hostOf(t, lab(t, host.Want{Name: "s1"}), "s1"), doctor.LookOptions{})}}))
}
