package tune

import (
	"context"
	"fmt"
	"path"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// KernelConfig tells about a kernel.
type KernelConfig struct {
	// Namespace is the network namespace of isukit itself (readlink /proc/self/ns/net) where the host is an emulated one of
	// the lab, and "" otherwise. In the lab only what each namespace has for itself is written, and only when commands on
	// the host do run in another namespace.
	Namespace string
	// Forbid tells why no key may be written at all ("" where they may): on this machine without its user's consent.
	Forbid string
	// File gets the settings of /proc/sys for the next boot, as sysctl.d(5) says, and Tmpfiles those of /sys, as tmpfiles.d(5)
	// does; "" writes the running kernel only.
	File, Tmpfiles string
}

// NewKernel is the target for tunings of kind sysctl.
func NewKernel(p Place, c KernelConfig) *Target {
	return p.target(Sysctl, func(h *seen) server { return kernel{host: h, c: c} })
}

// SysctlFile and TmpfilesFile are where a boot reads settings of a kernel from; BootFiles are what else of isukit's it reads.
const (
	SysctlFile   = "/etc/sysctl.d/99-isukit.conf"
	TmpfilesFile = "/etc/tmpfiles.d/isukit.conf"
)

// BootFiles are those files, and those of the units of a host's services, as patterns.
var BootFiles = []string{SysctlFile, TmpfilesFile, "/etc/systemd/system/isukit-*.d/tuned.conf"}

type kernel struct {
	plain
	host host.Host
	c    KernelConfig
}

func (k kernel) product(ctx context.Context) (engine.Product, error) { return linux(ctx, k.host) }

// questions implements asker.
func (k kernel) questions(keys []string) [][]string {
	list := [][]string{{"uname", "-r"}}
	if k.c.Namespace != "" {
		list = append(list, []string{"readlink", "/proc/self/ns/net"})
	}
	for _, key := range keys {
		list = append(list, []string{"test", "-w", sysPath(key)}, []string{"cat", sysPath(key)})
	}
	return list
}

// perNamespace tells whether each network namespace has the key for itself; others are the machine's, though some look
// writable in a namespace.
func perNamespace(key string) bool {
	switch key {
	case "net.core.somaxconn", "net.core.optmem_max":
		return true
	case "net.ipv4.tcp_mem", "net.ipv4.udp_mem", "net.ipv4.tcp_max_orphans", "net.ipv4.tcp_allowed_congestion_control",
		"net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets":
		return false
	}
	return strings.HasPrefix(key, "net.ipv4.") || strings.HasPrefix(key, "net.ipv6.") || strings.HasPrefix(key, "net.netfilter.")
}

func (k kernel) refuse(ctx context.Context, s Setting) (string, error) {
	if k.c.Forbid != "" {
		return k.c.Forbid, nil
	}
	if k.c.Namespace != "" {
		if !perNamespace(s.Key) {
			return "it belongs to the machine's own kernel, which all hosts of the lab share", nil
		}
		ns, err := host.Output(ctx, k.host, "readlink", "/proc/self/ns/net")
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(ns) == k.c.Namespace {
			return "commands on this host run in isukit's own network namespace", nil
		}
	}
	res, err := k.host.Run(ctx, host.Command{Argv: []string{"test", "-w", sysPath(s.Key)}})
	if err != nil {
		return "", err
	}
	if res.Code == 0 {
		return "", nil
	}
	if res, err = k.host.Run(ctx, host.Command{Argv: []string{"test", "-e", sysPath(s.Key)}}); err != nil {
		return "", err
	}
	if res.Code != 0 {
		return "this kernel has no " + sysPath(s.Key), nil
	}
	return unwritable(ctx, k.host)
}

// unwritable tells why a file of the kernel cannot be written that is there: a container's root may not either.
func unwritable(ctx context.Context, h host.Host) (string, error) {
	out, err := host.Output(ctx, h, "id", "-u")
	if err != nil || strings.TrimSpace(out) != "0" {
		return "it needs root", err
	}
	return "it is read-only here: this is a container, whose kernel is set by the machine that runs it", nil
}

// sysPath is the file of a key; a key that begins with "/sys/" is one already.
func sysPath(key string) string {
	if strings.HasPrefix(key, "/sys/") {
		return key
	}
	return "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
}

func (k kernel) slots(_ context.Context, s Setting) ([]slot, error) {
	run, sys := procSlot{k.host}, strings.HasPrefix(s.Key, "/sys/")
	switch {
	case sys && k.c.Tmpfiles != "":
		return []slot{tmpfilesSlot{k.host, k.c.Tmpfiles}, run}, nil
	case sys || k.c.File == "":
		return []slot{run}, nil
	}
	return []slot{iniSlot{host: k.host, path: k.c.File}, run}, nil
}

func (k kernel) slot(r *Record) slot {
	switch {
	case r.Layer != FileLayer:
		return procSlot{k.host}
	case strings.HasPrefix(r.Key, "/sys/"):
		return tmpfilesSlot{k.host, r.File}
	}
	return iniSlot{host: k.host, path: r.File}
}

// check finds a file that is read after the tuning's and sets the key, too: at boot the last one wins.
func (k kernel) check(ctx context.Context, r *Record) (string, error) {
	if r.Layer != FileLayer || r.current().Absent || strings.HasPrefix(r.Key, "/sys/") {
		return "", nil
	}
	out, err := host.Output(ctx, k.host, "sh", "-c", `for f in "${1%/*}"/*.conf "${1%/*/*}/sysctl.conf"; do [ ! -f "$f" ] || printf '%s\n' "$f"; done`, "sh", r.File)
	if err != nil {
		return "", err
	}
	for file := range strings.Lines(out) {
		file = strings.TrimSuffix(file, "\n")
		if path.Base(file) <= path.Base(r.File) {
			continue
		}
		v, err := iniSlot{host: k.host, path: file, ini: engine.Ini{Name: sysctlName}}.read(ctx, r.Key)
		if err != nil {
			return "", err
		}
		if !v.Absent && !v.Equal(r.current()) {
			return fmt.Sprintf("%s is read later and sets it to %s", file, v), nil
		}
	}
	return "", nil
}

// sysctlName makes spellings of a key equal: net/core/somaxconn, -net.core.somaxconn.
func sysctlName(key string) string {
	return strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(key), "-"), "/", ".")
}

// procSlot is the running kernel. It is read and written by commands on the host: each process sees the files of its own
// namespace.
type procSlot struct{ host host.Host }

func (procSlot) layer() Layer { return RuntimeLayer }

func (procSlot) file() string { return "" }

func (p procSlot) read(ctx context.Context, key string) (engine.Value, error) {
	text, err := host.Output(ctx, p.host, "cat", sysPath(key))
	if err != nil {
		return engine.Value{}, fmt.Errorf("read %s: %w", key, err)
	}
	return procValue(key, text), nil
}

func procValue(key, text string) engine.Value {
	if _, rest, ok := strings.Cut(text, "["); ok && strings.HasPrefix(key, "/sys/") { // always [madvise] never
		text, _, _ = strings.Cut(rest, "]")
	}
	return engine.Value{Text: strings.Join(strings.Fields(text), " ")}
}

// writeScript writes pairs of a file and a value, and prints for each three lines: the exit status, the complaint, and what the file
// has then.
const writeScript = `while [ $# -gt 0 ]; do
	said=$({ printf '%s\n' "$2" >"$1"; } 2>&1); echo "$?"
	printf '%s\n' "$said" | tr '\n' ' '; echo
	tr '\n' ' ' <"$1" || exit 1; echo
	shift 2
done`

// writeAll implements many.
func (p procSlot) writeAll(ctx context.Context, list []assignment) error {
	argv := []string{"sh", "-c", writeScript, "sh"}
	for _, a := range list {
		if a.to.Absent {
			return fmt.Errorf("write %s: a kernel's key can't be removed", a.key)
		}
		argv = append(argv, sysPath(a.key), a.to.Text)
	}
	out, err := host.Output(ctx, p.host, argv...)
	if err != nil {
		return fmt.Errorf("write %s: %w", list[0].key, err)
	}
	lines := strings.Split(out, "\n")
	if len(lines) != 3*len(list)+1 {
		return fmt.Errorf("write %d keys: the answer has %d lines", len(list), len(lines))
	}
	for i := range list {
		if code, said := lines[3*i], strings.TrimSpace(lines[3*i+1]); code != "0" {
			list[i].err = fmt.Errorf("write %s: exit status %s: %s", list[i].key, code, said)
		}
		list[i].got = procValue(list[i].key, lines[3*i+2])
	}
	return nil
}

// write does not trust that a write without a complaint took effect; whoever calls it reads back.
func (p procSlot) write(ctx context.Context, key string, v engine.Value) error {
	if v.Absent {
		return fmt.Errorf("write %s: a kernel's key can't be removed", key)
	}
	if _, err := host.Output(ctx, p.host, "sh", "-c", `printf '%s\n' "$2" >"$1"`, "sh", sysPath(key), v.Text); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}
