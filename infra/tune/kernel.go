package tune

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
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
	host *seen
	c    KernelConfig
}

func (k kernel) product(ctx context.Context) (engine.Product, error) { return linux(ctx, k.host) }

// foresee implements asker.
func (k kernel) foresee(_ context.Context, keys []string) []host.Op {
	ops := []host.Op{unameOp, idOp, k.sysctls(keys)}
	if k.c.Namespace != "" {
		ops = append(ops, namespaceOp)
	}
	for _, file := range []string{k.c.File, k.c.Tmpfiles} {
		if file != "" {
			ops = append(ops, host.Op{Get: file})
		}
	}
	return append(ops, k.overrides()...)
}

// overrides implements overridable.
func (k kernel) overrides() (ops []host.Op) {
	for _, file := range []string{k.c.File, k.c.Tmpfiles} {
		if file != "" {
			ops = append(ops, othersOp(file))
		}
	}
	return ops
}

var namespaceOp = host.Op{Run: &host.Command{Argv: []string{"readlink", "/proc/self/ns/net"}}}

// othersOp prints the files that a boot reads in addition to one of sysctl.d or tmpfiles.d, each line after its file's name. Of several files of one
// name it reads the first.
func othersOp(file string) host.Op {
	return host.Script(`dir=${1%/*} name=${1##*/}
grep -Hs "" "$dir"/*.conf "${dir%/*}/sysctl.conf" "${dir%/etc/*}"/run/"${dir##*/}"/*.conf "${dir%/etc/*}"/usr/local/lib/"${dir##*/}"/*.conf "${dir%/etc/*}"/usr/lib/"${dir##*/}"/*.conf /dev/null |
	grep "^[^:]*:.*$2"; true`, file, map[bool]string{true: "/sys/", false: "="}[strings.Contains(path.Dir(file), "tmpfiles.d")])
}

// sysctls asks what files of the kernel there are, which can be written, and what is in them.
func (k kernel) sysctls(keys []string) host.Op {
	var files []string
	for _, key := range keys {
		if file := sysPath(key); !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	return host.Script(`for f; do [ ! -e "$f" ] || echo "there:$f"; [ ! -w "$f" ] || echo "writable:$f"; done; grep -Hs "" "$@" /dev/null; true`, files...)
}

// sysctl is a file of the kernel.
type sysctl struct {
	there, writable bool
	text            string
}

// ask reads a key, once for each look.
func (k kernel) ask(ctx context.Context, key string) (sysctl, error) {
	keys := k.host.keys
	if !slices.Contains(keys, key) {
		keys = []string{key}
	}
	out, err := host.Output(ctx, k.host, k.sysctls(keys).Run.Argv...)
	if err != nil {
		return sysctl{}, fmt.Errorf("read %s: %w", key, err)
	}
	return sysctlIn(out, key), nil
}

func sysctlIn(out, key string) sysctl {
	var s sysctl
	for line := range strings.Lines(out) {
		file, text, _ := strings.Cut(line, ":")
		switch sysPath(key) {
		case file:
			s.text += text
		case strings.TrimSuffix(text, "\n"):
			s.there, s.writable = s.there || file == "there", s.writable || file == "writable"
		}
	}
	return s
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
		ns, err := host.Output(ctx, k.host, namespaceOp.Run.Argv...)
		if err != nil {
			return "", err
		}
		if strings.TrimSpace(ns) == k.c.Namespace {
			return "commands on this host run in isukit's own network namespace", nil
		}
	}
	now, err := k.ask(ctx, s.Key)
	if err != nil || now.writable {
		return "", err
	}
	if !now.there {
		return "this kernel has no " + sysPath(s.Key), nil
	}
	return unwritable(ctx, k.host)
}

var idOp = host.Op{Run: &host.Command{Argv: []string{"id", "-u"}}}

// unwritable tells why a file of the kernel cannot be written that is there: a container's root may not either.
func unwritable(ctx context.Context, h host.Host) (string, error) {
	out, err := host.Output(ctx, h, idOp.Run.Argv...)
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
	run, sys := procSlot{k}, strings.HasPrefix(s.Key, "/sys/")
	switch {
	case sys && k.c.Tmpfiles != "":
		return []slot{k.file(s.Key, k.c.Tmpfiles), run}, nil
	case sys || k.c.File == "":
		return []slot{run}, nil
	}
	return []slot{k.file(s.Key, k.c.File), run}, nil
}

func (k kernel) slot(r *Record) slot {
	if r.Layer != FileLayer {
		return procSlot{k}
	}
	return k.file(r.Key, r.File)
}

// file is the file that a boot reads a key from.
func (k kernel) file(key, path string) slot {
	if strings.HasPrefix(key, "/sys/") {
		return fileSlot{host: k.host, path: path, format: tmpfilesFormat{}}
	}
	return fileSlot{host: k.host, path: path, format: iniFormat{}}
}

// check finds a file that sets the key as well, and wins at boot: of sysctl.d the last one does, of tmpfiles.d the first.
func (k kernel) check(ctx context.Context, r *Record) (string, error) {
	if r.Layer != FileLayer || r.current().Absent {
		return "", nil
	}
	out, err := host.Output(ctx, k.host, othersOp(r.File).Run.Argv...)
	if err != nil {
		return "", err
	}
	sys := strings.HasPrefix(r.Key, "/sys/")
	texts, names := map[string]string{}, map[string]string{} // by path, and of a name
	for line := range strings.Lines(out) {
		file, text, _ := strings.Cut(line, ":")
		if name := path.Base(file); names[name] == "" {
			names[name] = file
		}
		if sys == strings.Contains(path.Dir(file), "tmpfiles.d") && names[path.Base(file)] == file {
			texts[file] += text
		}
	}
	for _, file := range slices.Sorted(maps.Keys(texts)) {
		v, err := k.file(r.Key, file).(fileSlot).value(texts[file], r.Key)
		if !sys {
			v = engine.Ini{Name: sysctlName}.Value(texts[file], r.Key)
		}
		order := strings.Compare(path.Base(file), path.Base(r.File))
		if err != nil || v.Absent || v.Equal(r.current()) || order == 0 || sys != (order < 0) {
			continue
		}
		if sys {
			return fmt.Sprintf("%s is read before it and sets it to %s", file, v), nil
		}
		return fmt.Sprintf("%s is read later and sets it to %s", file, v), nil
	}
	return "", nil
}

// sysctlName makes spellings of a key equal: net/core/somaxconn, -net.core.somaxconn.
func sysctlName(key string) string {
	return strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(key), "-"), "/", ".")
}

// procSlot is the running kernel, read and written by commands on the host: each process sees its own namespace.
type procSlot struct{ k kernel }

func (procSlot) layer() Layer { return RuntimeLayer }

func (procSlot) file() string { return "" }

func (p procSlot) read(ctx context.Context, key string) (engine.Value, error) {
	now, err := p.k.ask(ctx, key)
	if err == nil && !now.there {
		err = fmt.Errorf("read %s: this kernel has no such key", key)
	}
	return procValue(key, now.text), err
}

func procValue(key, text string) engine.Value {
	if _, rest, ok := strings.Cut(text, "["); ok && strings.HasPrefix(key, "/sys/") { // always [madvise] never
		text, _, _ = strings.Cut(rest, "]")
	}
	return engine.Value{Text: strings.Join(strings.Fields(text), " ")}
}

// writeScript writes pairs of a file and a value, and prints those that failed.
const writeScript = `while [ $# -gt 0 ]; do
	said=$({ printf '%s\n' "$2" >"$1"; } 2>&1) || { printf '%s:' "$1"; printf '%s' "$said" | tr '\n' ' '; echo; }
	shift 2
done`

// writes implements writer. That a write without a complaint took effect is not trusted: keys are read back.
func (p procSlot) writes(_ context.Context, list []assignment) ([]host.Op, func([]host.Answer) error, error) {
	var pairs, keys []string
	for _, a := range list {
		if a.to.Absent {
			return nil, nil, fmt.Errorf("write %s: a kernel's key can't be removed", a.key)
		}
		pairs, keys = append(pairs, sysPath(a.key), a.to.Text), append(keys, a.key)
	}
	return []host.Op{host.Script(writeScript, pairs...), p.k.sysctls(keys)}, func(answers []host.Answer) error {
		for _, a := range answers {
			if err := a.Failed(); err != nil {
				return fmt.Errorf("write %s: %w", list[0].key, err)
			}
		}
		for i, a := range list {
			list[i].got = procValue(a.key, sysctlIn(string(answers[1].Stdout), a.key).text)
			for line := range strings.Lines(string(answers[0].Stdout)) {
				if said, failed := strings.CutPrefix(line, sysPath(a.key)+":"); failed {
					list[i].err = fmt.Errorf("write %s: %s", a.key, strings.TrimSpace(said))
				}
			}
		}
		return nil
	}, nil
}

// BootConfig is where a host's kernel gets its arguments.
type BootConfig struct {
	// Forbid tells why nothing may be written ("" where it may): the lab's hosts and this machine are not booted by isukit.
	Forbid string
	// Root is put before the paths below; "" is the host's own.
	Root string
}

// NewBoot is the target for tunings of kind boot: a file in /etc/default/grub.d, which update-grub reads.
func NewBoot(p Place, c BootConfig) *Target {
	return p.target(Boot, func(h *seen) server { return boot{host: h, c: c} })
}

type boot struct {
	plain
	host *seen
	c    BootConfig
}

func (b boot) product(ctx context.Context) (engine.Product, error) { return linux(ctx, b.host) }

func (b boot) refuse(ctx context.Context, _ Setting) (string, error) {
	if b.c.Forbid != "" {
		return b.c.Forbid, nil
	}
	res, err := b.host.Run(ctx, host.Command{Argv: []string{"sh", "-c", "command -v update-grub"}})
	if err == nil && res.Code != 0 {
		return "update-grub not found: check how this host's kernel gets its arguments", nil
	}
	return "", err
}

func (b boot) grub() slot {
	return fileSlot{host: b.host, path: b.c.Root + "/etc/default/grub.d/99-isukit.cfg", on: BootLayer, format: grubFormat{}}
}

func (b boot) slots(context.Context, Setting) ([]slot, error) { return []slot{b.grub()}, nil }

func (b boot) slot(*Record) slot { return b.grub() }

func (b boot) settle(ctx context.Context, _ Restart) (string, error) {
	if _, err := host.Output(ctx, b.host, "update-grub"); err != nil {
		return "", err
	}
	return "update-grub was run; it takes effect at the next boot", nil
}

// check compares with the kernel that runs.
func (b boot) check(ctx context.Context, r *Record) (string, error) {
	text, err := b.host.Get(ctx, b.c.Root+"/proc/cmdline")
	if err != nil {
		return "", err
	}
	argument := r.Key + "=" + r.current().Text
	for _, f := range strings.Fields(string(text)) {
		if f == argument {
			return "", nil
		}
	}
	return fmt.Sprintf("the kernel was booted without %s: it needs a reboot", argument), nil
}

// grubFormat adds one argument to what grub has already.
type grubFormat struct{ ini iniFormat }

const grubKey = "GRUB_CMDLINE_LINUX_DEFAULT"

func (g grubFormat) value(text, key string) (engine.Value, error) {
	v, err := g.ini.value(text, grubKey)
	if err != nil || v.Absent {
		return v, err
	}
	for _, f := range strings.Fields(strings.Trim(v.Text, `"`)) {
		if value, ok := strings.CutPrefix(f, key+"="); ok {
			return engine.Value{Text: value}, nil
		}
	}
	return engine.Value{Absent: true}, nil
}

func (g grubFormat) edited(text, key string, v engine.Value) (string, error) {
	if !v.Absent {
		v.Text = fmt.Sprintf(`"$%s %s=%s"`, grubKey, key, v.Text)
	}
	return g.ini.edited(text, grubKey, v)
}
