package tune

import (
	"context"
	"fmt"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// BootConfig tells how a host's kernel gets its arguments.
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
