package tune_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"isukit/infra/host"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
	"isukit/infra/tune"
)

func TestKernel(t *testing.T) {
	ns := namespace(t, local(t))
	state := t.TempDir()
	target := kernelTarget(t, ns, state)
	before := sysctls(t, ns.name)
	report := apply(t, target, "sysctl/ports", "sysctl/backlog", "sysctl/buffers", "sysctl/memory", "sysctl/files", "sysctl/device-queue", "sysctl/hugepages")
	for _, o := range report {
		global := strings.HasPrefix(o.Key, "vm.") || strings.HasPrefix(o.Key, "fs.") || strings.HasPrefix(o.Key, "/sys/") ||
			o.Key == "net.core.netdev_max_backlog" || o.Key == "net.core.default_qdisc"
		if global != (o.Did == tune.Refused) || global && !strings.Contains(o.Reason, "the machine's own kernel") {
			t.Errorf("%s: %s (%s)", o.Key, o.Did, o.Reason)
		}
	}
	for key, want := range map[string]string{"net.ipv4.ip_local_port_range": "10240 65535", "net.ipv4.tcp_tw_reuse": "1", "net.core.somaxconn": "8192"} {
		if got := sysctl(t, ns.name, key); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	if drift := verify(t, target); len(drift) > 0 {
		t.Errorf("verify:\n%s", show(drift))
	}
	// Another tool sets one of them: it is found, and left.
	ip(t, "netns", "exec", ns.name, "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=0")
	if drift := verify(t, target); len(drift) != 1 || drift[0].Key != "net.ipv4.tcp_tw_reuse" || !strings.Contains(drift[0].Reason, "it is 0, isukit set 1") {
		t.Errorf("verify after a foreign change:\n%s", show(drift))
	}
	back := revert(t, target)
	if !back.Has(tune.Left) {
		t.Errorf("revert did not report the foreign change:\n%s", show(back))
	}
	if got := sysctl(t, ns.name, "net.ipv4.tcp_tw_reuse"); got != "0" {
		t.Errorf("the foreign value is %q after revert, want 0", got)
	}
	if _, err := target.Revert(t.Context(), tune.RevertOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	if after := sysctls(t, ns.name); after != before {
		t.Errorf("after revert: %s", firstDifference(before, after))
	}
	if _, err := os.Stat(filepath.Join(state, "99-isukit.conf")); !os.IsNotExist(err) {
		t.Errorf("the file of the next boot is still there: %v", err)
	}
}

// TestKernelOfTheMachineIsLeftAlone: a target of the lab whose commands run in isukit's own namespace writes nothing.
func TestKernelOfTheMachineIsLeftAlone(t *testing.T) {
	infratest.Real(t)
	before := sysctl(t, "", "net.ipv4.tcp_fin_timeout")
	target := tune.NewKernel(tune.Place{Name: "s1", Host: local(t), StateDir: t.TempDir()}, tune.KernelConfig{Namespace: ownNamespace(t)})
	report := apply(t, target, "sysctl/fin-timeout")
	if len(report) != 1 || report[0].Did != tune.Refused {
		t.Errorf("got\n%s\nwant a refusal", show(report))
	}
	if got := sysctl(t, "", "net.ipv4.tcp_fin_timeout"); got != before {
		t.Errorf("tcp_fin_timeout was %s and is %s", before, got)
	}
}

func TestLink(t *testing.T) {
	ns := namespace(t, local(t))
	target := tune.NewLink(tune.Place{Name: "s1", Host: ns, StateDir: t.TempDir()}, tune.LinkConfig{})
	mtu := func() int {
		list, err := tune.MTUs(t.Context(), ns)
		if err != nil || len(list) != 1 {
			t.Fatalf("interfaces: %v, %v", list, err)
		}
		return list[0].Bytes
	}
	apply(t, target, "link/mtu")
	if got := mtu(); got != 9000 {
		t.Errorf("the mtu is %d, want 9000", got)
	}
	revert(t, target)
	if got := mtu(); got != 1500 {
		t.Errorf("the mtu is %d after revert, want 1500", got)
	}
}

func TestNginx(t *testing.T) {
	infratest.Real(t)
	asked := map[string]int{}
	connections := map[string]bool{}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		connections[r.RemoteAddr] = true
	}))
	defer app.Close()
	n := infratest.StartNginx(t, "upstream web { server "+strings.TrimPrefix(app.URL, "http://")+"; }", "location / { proxy_pass http://web; }")
	target := nginxTarget(t, local(t), n, t.TempDir())
	conf := filepath.Join(n.Dir, "nginx.conf")
	before, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) {
		t.Helper()
		resp, err := http.Get(n.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	all := []string{"nginx/keepalive", "nginx/cache", "nginx/workers", "nginx/logs-off", "nginx/open-file-cache", "nginx/static", "nginx/measure"}
	report := apply(t, target, all...)
	if report.Has(tune.Failed, tune.Refused) || !report.Has(tune.Settled) {
		t.Errorf("apply:\n%s", show(report))
	}
	if drift := verify(t, target); len(drift) > 0 {
		t.Errorf("verify:\n%s", show(drift))
	}
	clear(connections)
	for range 5 {
		get("/x")
	}
	if len(connections) != 1 {
		t.Errorf("5 requests took %d connections to the app, want 1 with keepalive", len(connections))
	}
	// Within any three in a row two are in the same second.
	for range 3 {
		get("/api/leaderboard")
	}
	if asked["/api/leaderboard"] > 2 {
		t.Errorf("the app was asked %d times for 3 leaderboards, want the cache to answer", asked["/api/leaderboard"])
	}
	revert(t, target, "nginx/cache")
	revert(t, target)
	after, err := os.ReadFile(conf)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("after revert (%v):\n%s", err, firstDifference(string(before), string(after)))
	}
	clear(connections)
	for range 3 {
		get("/x")
	}
	if len(connections) != 3 {
		t.Errorf("3 requests took %d connections after revert, want 3", len(connections))
	}
}

// TestNginxThatRefusesItsConfiguration: what nginx -t refuses is reverted immediately.
func TestNginxThatRefusesItsConfiguration(t *testing.T) {
	infratest.Real(t)
	n := infratest.StartNginx(t, "", "location / { return 204; }")
	target := nginxTarget(t, local(t), n, t.TempDir())
	before, err := os.ReadFile(filepath.Join(n.Dir, "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	c := catalog(t)
	bad, err := c.Add("bad.conf", []byte("# Tuning nginx/bad: of no use\nhttp {\n\t# why not; since nginx 0.7; restart: reload; risk: low\n\tno_such_directive on;\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := target.Apply(t.Context(), when, bad)
	if err != nil || !report.Has(tune.Failed) || !strings.Contains(show(report), "no_such_directive") {
		t.Errorf("apply: %v\n%s\nwant a failure that names the directive", err, show(report))
	}
	after, err := os.ReadFile(filepath.Join(n.Dir, "nginx.conf"))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the configuration was not taken back (%v):\n%s", err, firstDifference(string(before), string(after)))
	}
}

func TestLimits(t *testing.T) {
	infratest.Real(t)
	cmd := exec.Command("prlimit", "--nofile=64:16384", "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	h, state := local(t), t.TempDir()
	applied := func() string {
		names, err := tune.AppliedTo(t.Context(), h, state)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(names["web-1.limits"], ", ")
	}
	target := tune.NewLimits(tune.Place{Name: "web-1", Host: h, StateDir: state},
		tune.LimitsConfig{PIDs: func(context.Context) ([]int, error) { return []int{cmd.Process.Pid}, nil }})
	limit := func() string {
		out, err := exec.Command("prlimit", "--pid", itoa(cmd.Process.Pid), "--nofile", "--noheadings", "--raw", "--output", "SOFT,HARD").Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	for range 500 { // until sleep has begun
		if limit() == "64 16384" {
			break
		}
	}
	report := apply(t, target, "limits/nofile")
	// Without CAP_SYS_RESOURCE the hard limit stays.
	if got := limit(); got != "65536 65536" && got != "16384 16384" {
		t.Errorf("limit: %q, want 65536\n%s", got, show(report))
	}
	if got := applied(); got != "limits/nofile" {
		t.Errorf("applied: %q, want limits/nofile", got)
	}
	revert(t, target)
	if got := applied(); got != "" {
		t.Errorf("applied after revert: %q", got)
	}
	if got := limit(); got != "64 16384" {
		t.Errorf("limit after revert: %q, want 64 16384", got)
	}
}

// TestWithoutRoot: what can be applied is applied, the rest is refused with the reason.
func TestWithoutRoot(t *testing.T) {
	infratest.Real(t)
	if os.Geteuid() != 0 {
		t.Fatal("becoming somebody else takes root: run make test as root")
	}
	ns, state := namespace(t, local(t)), t.TempDir()
	as := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"}
	cmd := exec.Command("prlimit", append([]string{"--nofile=64:4096"}, append(as, "sleep", "60")...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	wait.For(t, "sleep to have begun", func() bool {
		name, _ := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/comm")
		return string(name) == "sleep\n"
	})
	place := tune.Place{Name: "s1", Host: &prefixed{ns, as, state}, StateDir: state, Sizes: tune.Sizes{MemoryBytes: 1 << 30, CPUs: 2}}
	targets := []*tune.Target{
		tune.NewKernel(place, tune.KernelConfig{Namespace: ownNamespace(t)}),
		tune.NewLimits(place, tune.LimitsConfig{PIDs: func(context.Context) ([]int, error) { return []int{cmd.Process.Pid}, nil }}),
	}
	tunings, err := catalog(t).Resolve([]string{"sysctl/fin-timeout", "limits/nofile"})
	if err != nil {
		t.Fatal(err)
	}
	before := sysctl(t, ns.name, "net.ipv4.tcp_fin_timeout")
	report, err := tune.ApplyAll(t.Context(), when, targets, tunings)
	if err != nil || len(report) != 2 || report[0].Did != tune.Refused || report[0].Reason != "it needs root" || report[1].Did != tune.Applied || report[1].To != "4096 4096" {
		t.Errorf("apply: %v\n%s", err, show(report))
	}
	if got := sysctl(t, ns.name, "net.ipv4.tcp_fin_timeout"); got != before {
		t.Errorf("tcp_fin_timeout was %s and is %s", before, got)
	}
	if report, err := tune.RevertAll(t.Context(), targets, tune.RevertOptions{}); err != nil || !report.Has(tune.Reverted) {
		t.Errorf("revert: %v\n%s", err, show(report))
	}
}

// prefixed is a host whose commands another user runs, except for those about the records, which are the test's.
type prefixed struct {
	host.Host
	argv  []string
	state string
}

func (p prefixed) Run(ctx context.Context, cmd host.Command) (host.Result, error) {
	if slices.ContainsFunc(cmd.Argv, func(arg string) bool { return strings.HasPrefix(arg, p.state) }) {
		return p.Host.Run(ctx, cmd)
	}
	cmd.Argv = append(slices.Clone(p.argv), cmd.Argv...)
	return p.Host.Run(ctx, cmd)
}
