package ssh

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"isukit/infra/host"
)

// Options are how hosts are reached, and where the ones in use are recorded.
type Options struct {
	StateDir string
	// ConfigFile is used instead of the user's and the system's ssh_config; "" for those.
	ConfigFile string
	// Apart is for hosts outside a topology: only this driver knows of them, and it makes nothing there that was not asked for.
	Apart bool
}

// Driver reaches hosts through ssh.
type Driver struct {
	opts    Options
	dir     string // of the record
	control string // of sockets

	used   sync.Map // of host.Want: hosts with a connection, maybe
	nodes  sync.Map // by record: those that were asked for
	locked sync.Map // by name, as locks
	away   sync.Map // by name: why hosts could not be locked, while the others are
	first  func(host.About) ([]host.Op, []string)

	mu     sync.Mutex
	apart  []record             // instead of the file
	holder host.Holder          // who has locked the hosts; its Name is "" for nobody
	locks  map[string]*hostLock // by host
	ready  map[string]host.Want // hosts that Ensure has readied since this driver was opened
}

var _ host.Driver = (*Driver)(nil)

// remoteDir is for isukit's files on a host.
const remoteDir = "/var/lib/isukit"

type record struct {
	Want  host.Want  `json:"want"`
	About host.About `json:"about"`
	Sudo  bool       `json:"sudo"`
	// Machine identifies the machine under any name: a hash of its id and of its host keys.
	Machine string `json:"machine,omitempty"`
}

// maxControlPath: an address of a Unix socket holds 108 bytes; ssh puts a hash of 40 characters into it and, while it makes
// the socket, 17 more at its end. Before the hash comes the directory of one driver, controlName.
const (
	maxControlPath = 107 - 41 - 17 - len("/") - len(controlName)
	controlName    = "12345678"
)

// Open returns the driver. It connects to no host yet.
func Open(opts Options) (*Driver, error) {
	d := &Driver{opts: opts, dir: filepath.Join(opts.StateDir, "hosts", "ssh"), locks: map[string]*hostLock{}, ready: map[string]host.Want{}}
	d.control = filepath.Join(d.dir, "control")
	if len(d.control) > maxControlPath {
		sum := sha256.Sum256([]byte(d.control))
		d.control = filepath.Join("/tmp", "isukit-"+strconv.Itoa(os.Getuid())+"-"+hex.EncodeToString(sum[:4]))
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open driver ssh: %w", err)
	}
	if err := d.ownControl(); err != nil {
		return nil, fmt.Errorf("open driver ssh: %w", err)
	}
	return d, nil
}

// ownControl makes a directory for the sockets of this driver alone: closing it ends only its own shared connections.
func (d *Driver) ownControl() error {
	var name [len(controlName) / 2]byte
	rand.Read(name[:])
	own := filepath.Join(d.control, hex.EncodeToString(name[:]))
	for range 3 { // one that is closed meanwhile may remove what is empty
		if err := ownDir(d.control); err != nil {
			return err
		}
		sweep(d.control)
		err := ownDir(own)
		if err == nil {
			d.control = own
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%s is removed again and again", d.control)
}

// sweep removes what killed drivers have left: their connections have ended, and with them the sockets.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.Remove(filepath.Join(dir, e.Name())) // fails where there is a socket in it
		}
	}
}

// ownDir makes a directory that only its user can write to, or finds it so.
func ownDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !st.IsDir() || st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a directory of this user alone", dir)
	}
	return os.Chmod(dir, 0o700) // fails where it is another's
}

// Name implements host.Driver.
func (d *Driver) Name() string { return "ssh" }

func (d *Driver) read() ([]record, error) {
	if d.opts.Apart {
		return slices.Clone(d.apart), nil
	}
	file := filepath.Join(d.dir, "state.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of hosts: %w", err)
	}
	var list []record
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, &host.Fault{
			Err:  fmt.Errorf("read the record of hosts, %s: %w", file, err),
			Hint: "the hosts know what runs on them: rm " + file + ", then apply the topology again, or apply it and take it down",
		}
	}
	return list, nil
}

func (d *Driver) write(list []record) error {
	if d.opts.Apart {
		d.apart = list
		return nil
	}
	slices.SortFunc(list, func(a, b record) int { return strings.Compare(a.Want.Name, b.Want.Name) })
	text, err := json.MarshalIndent(list, "", " ")
	if err == nil {
		err = renameio.WriteFile(filepath.Join(d.dir, "state.json"), append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("record hosts: %w", err)
	}
	return nil
}

func (d *Driver) client(w host.Want, sudo bool) *client {
	dest := w.Address
	if dest == "" {
		dest = w.Name
	}
	d.used.Store(w, true)
	return &client{name: w.Name, dest: Destination(dest), opts: d.opts, control: d.control, sudo: sudo, locked: &d.locked, away: &d.away}
}

// Ensure implements host.Driver: it finds out what the hosts are, and makes isukit's directory there. What a host has is
// what it has: CPUs, MemoryBytes and LinkBitsPerSecond are not made so, and a link with flaws is refused. A host that it has readied before is not asked again.
func (d *Driver) Ensure(ctx context.Context, hosts []host.Want) error {
	if err := host.CheckWants(d.Name(), hosts); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	hosts = slices.DeleteFunc(slices.Clone(hosts), func(w host.Want) bool { return d.ready[w.Name] == w })
	if len(hosts) == 0 {
		return nil
	}
	list, err := d.read()
	if err != nil {
		return err
	}
	before := slices.Clone(list)
	asked, errs := make([]record, len(hosts)), make([]error, len(hosts))
	var all sync.WaitGroup
	for n, w := range hosts {
		all.Go(func() { asked[n], errs[n] = d.ask(ctx, w) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, r := range asked {
		list = append(slices.DeleteFunc(list, func(o record) bool { return o.Want.Name == r.Want.Name }), r)
	}
	if err := sameMachine(list); err != nil {
		return err
	}
	if away, err := d.lockMore(ctx, list); away != nil || err != nil {
		return errors.Join(away, err)
	}
	if err := d.write(list); err != nil {
		return err
	}
	for n, w := range hosts { // also if it was known before: the host may have been reinstalled
		if d.opts.Apart {
			break
		}
		all.Go(func() {
			_, errs[n] = d.client(w, asked[n].Sudo).check(ctx, "make "+remoteDir, "mkdir -p "+remoteDir+" && chmod 755 "+remoteDir, nil)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return errors.Join(err, d.write(before))
	}
	for _, w := range hosts {
		d.ready[w.Name] = w
	}
	return nil
}

// sameMachine names hosts that are one machine under two names.
func sameMachine(list []record) error {
	names := map[string]string{}
	for _, r := range list {
		if other := names[r.Machine]; other != "" && r.Machine != "" {
			return &host.Fault{
				Host: r.Want.Name, Err: fmt.Errorf("%w: it is the same machine as host %s", host.ErrUnsupported, other),
				Hint: "a host that goes stays until the swap is done: give the new one its name or another machine, or take down what is up first",
			}
		}
		names[r.Machine] = r.Want.Name
	}
	return nil
}

// ask reads the description of a host.
func (d *Driver) ask(ctx context.Context, w host.Want) (record, error) {
	c := d.client(w, false)
	c.locked = nil
	out, err := c.check(ctx, "inspect the host", askScript, nil)
	if err != nil {
		return record{}, err
	}
	r := record{Want: w}
	fields, least := map[string]string{}, map[string]float64{}
	for line := range strings.Lines(out) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[k] = v
		if n, err := strconv.ParseFloat(v, 64); err == nil && n > 0 && (least[k] == 0 || n < least[k]) {
			least[k] = n
		}
	}
	r.Machine = fields["machine"]
	if fields["uid"] != "0" {
		if fields["sudo"] != "0" {
			return r, c.noRoot(fields["why"])
		}
		r.Sudo = true
	}
	if fields["systemctl"] == "" {
		return r, &host.Fault{Host: w.Name, Err: fmt.Errorf("%w: systemctl not found", host.ErrUnsupported), Hint: "services are systemd units; use a host that has systemd"}
	}
	r.About = host.About{Name: w.Name, Driver: d.Name(), Address: fields["address"], Dir: remoteDir, Root: true, Kernel: host.OwnKernel}
	r.About.Arch = goArch[fields["arch"]]
	r.About.Threads, _ = strconv.Atoi(fields["cpus"])
	r.About.CPUs = float64(r.About.Threads)
	if quota := least["quota"]; quota > 0 {
		r.About.CPUs = min(r.About.CPUs, quota)
	}
	kib, _ := strconv.ParseInt(fields["memory"], 10, 64)
	r.About.MemoryBytes = kib << 10
	if limit := int64(least["limit"]); limit > 0 {
		r.About.MemoryBytes = min(r.About.MemoryBytes, limit)
	}
	if net.ParseIP(r.About.Address) == nil || r.About.Threads < 1 || kib < 1 {
		return r, fmt.Errorf("inspect the host on %s: unexpected answer: %q", c.name, out)
	}
	return r, nil
}

// goArch are Go's names of what uname calls machines.
var goArch = map[string]string{"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64", "i686": "386", "armv7l": "arm", "armv6l": "arm"}

// askScript describes a host. It runs as the user who logs in. The limits are those of a container that the host may be, and of the
// slice of systemd's in which services run; each may be there several times.
const askScript = `echo "uid=$(id -u)"
why=$(sudo -n true 2>&1); echo "sudo=$?"; printf 'why=%s\n' "$(printf '%s' "$why" | tail -n 1)"
set -- ${SSH_CONNECTION:-}; echo "address=${3:-}"
echo "arch=$(uname -m)"
echo "cpus=$(nproc)"
sed -n 's/^MemTotal: *\([0-9]*\) kB$/memory=\1/p' /proc/meminfo
cd /sys/fs/cgroup 2>/dev/null && for dir in . memory cpu cpu,cpuacct; do # version 2, and the controllers of version 1
	for dir in $dir $dir/system.slice; do
		sed 's/^/limit=/' $dir/memory.max $dir/memory.limit_in_bytes
		awk '$1 != "max" { print "quota=" $1 / $2 }' $dir/cpu.max
		cat $dir/cpu.cfs_quota_us $dir/cpu.cfs_period_us | awk 'NR == 1 { q = $1; next } q > 0 { print "quota=" q / $1 }'
	done
done 2>/dev/null
echo "machine=$(cat /etc/machine-id /etc/ssh/ssh_host_*_key.pub 2>/dev/null | sha256sum | cut -d ' ' -f 1)"
echo "systemctl=$(PATH=$PATH:/usr/bin:/bin command -v systemctl)"
`

// Hosts implements host.Driver.
func (d *Driver) Hosts(context.Context) ([]host.Want, error) {
	list, err := d.read()
	var wants []host.Want
	for _, r := range list {
		wants = append(wants, r.Want)
	}
	return wants, err
}

// Host implements host.Driver.
func (d *Driver) Host(name string) (host.Host, error) {
	list, err := d.read()
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if r.Want.Name == name {
			return d.node(r), nil
		}
	}
	return nil, fmt.Errorf("%w: %s", host.ErrUnknownHost, name)
}

// node is a host on record, always the same one.
func (d *Driver) node(r record) *node {
	n := &node{client: d.client(r.Want, r.Sudo), about: r.About}
	known, _ := d.nodes.LoadOrStore(r, n)
	return known.(*node)
}

// Remove implements host.Driver: it ends isukit's services there and takes its units and files away. The hosts run on.
func (d *Driver) Remove(ctx context.Context, names ...string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	list, err := d.read()
	if err != nil {
		return err
	}
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for n, r := range list {
		if slices.Contains(names, r.Want.Name) {
			delete(d.ready, r.Want.Name)
			all.Go(func() {
				_, errs[n] = d.client(r.Want, r.Sudo).check(ctx, "remove isukit's services and files", removeScript, nil)
			})
		}
	}
	all.Wait()
	var left []record
	for n, r := range list {
		if errs[n] != nil || !slices.Contains(names, r.Want.Name) {
			left = append(left, r)
		}
	}
	if len(left) < len(list) {
		errs = append(errs, d.write(left))
	}
	return errors.Join(errs...)
}

// removeScript reverts everything that this driver has made on a host.
const removeScript = `set -e
cd /etc/systemd/system
for unit in isukit-*.service; do
	[ -e "$unit" ] || continue
	systemctl kill --signal=KILL "$unit" 2>/dev/null || true
	systemctl stop "$unit"
	systemctl disable --quiet "$unit"
	rm -rf -- "$unit" "$unit.d" ` + startedDir + `"$unit.d"
	systemctl reset-failed "$unit" 2>/dev/null || true
done
rm -f isukit-*.service.new
systemctl daemon-reload
rm -rf ` + remoteDir + "\n"

// Down implements host.Driver.
func (d *Driver) Down(ctx context.Context) error {
	wants, err := d.Hosts(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, w := range wants {
		names = append(names, w.Name)
	}
	return d.Remove(ctx, names...)
}

// Dial implements host.Driver: the load generator is where this process is.
func (d *Driver) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// Close implements host.Driver: it closes connections and gives locks back.
func (d *Driver) Close(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	errs := []error{d.unlock()}
	var all sync.WaitGroup
	d.used.Range(func(w, _ any) bool { // also of hosts that are not on record any more
		all.Go(func() { _ = d.client(w.(host.Want), false).exit(ctx) }) // one that was not open is not a fault
		return true
	})
	all.Wait()
	errs = append(errs, os.RemoveAll(d.control))
	_ = os.Remove(filepath.Dir(d.control)) // fails while another driver has its own there
	return errors.Join(errs...)
}
