package tune

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// LinkConfig tells about the network interfaces of a host.
type LinkConfig struct {
	// Forbid tells why nothing may be written ("" where it may): on this machine without its user's consent.
	Forbid string
	// Boots tells that the host has a kernel of its own, which forgets what its interfaces were set to.
	Boots bool
}

// NewLink is the target for tunings of kind link: all interfaces of the host but the loopback.
func NewLink(p Place, c LinkConfig) *Target {
	return p.target(Link, func(h *seen) server { return link{host: h, c: c} })
}

type link struct {
	plain
	host host.Host
	c    LinkConfig
}

func (l link) product(ctx context.Context) (engine.Product, error) { return linux(ctx, l.host) }

func (l link) refuse(_ context.Context, s Setting) (string, error) {
	if s.Key != "mtu" {
		return "isukit knows the mtu of interfaces only", nil
	}
	return l.c.Forbid, nil
}

func (l link) expand(ctx context.Context, s Setting) ([]string, error) {
	mtus, err := MTUs(ctx, l.host)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, m := range mtus {
		keys = append(keys, s.Key+" of "+m.Interface)
	}
	return keys, nil
}

// MTU is the largest packet that an interface sends, in bytes.
type MTU struct {
	Interface string
	Bytes     int
}

// MTUs lists the interfaces of a host that are up, except for the loopback.
func MTUs(ctx context.Context, h host.Host) ([]MTU, error) {
	out, err := host.Output(ctx, h, linksOp.Run.Argv...)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return mtusIn(out), nil
}

var linksOp = host.Op{Run: &host.Command{Argv: []string{"ip", "-o", "link", "show", "up"}}}

func mtusIn(out string) (list []MTU) {
	for line := range strings.Lines(out) { // "2: eth0@if3: <BROADCAST,UP> mtu 1500 qdisc ..."
		f := strings.Fields(line)
		if len(f) < 5 || f[3] != "mtu" {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimSuffix(f[1], ":"), "@")
		n, err := strconv.Atoi(f[4])
		if err != nil || strings.Contains(f[2], "LOOPBACK") {
			continue
		}
		list = append(list, MTU{name, n})
	}
	return list
}

// foresee implements asker.
func (l link) foresee(context.Context, []string) []host.Op { return []host.Op{unameOp, linksOp} }

func (l link) slots(context.Context, Setting) ([]slot, error) { return []slot{l.slot(nil)}, nil }

func (l link) slot(*Record) slot { return linkSlot{l.host, l.c.Boots} }

// linkSlot is an interface that runs. Which file a boot sets it from depends on what manages the host's network.
type linkSlot struct {
	host  host.Host
	boots bool
}

func (s linkSlot) forgets() string {
	if !s.boots {
		return ""
	}
	return "until the host boots: set it where its network is configured, too"
}

func (linkSlot) layer() Layer { return RuntimeLayer }

func (linkSlot) file() string { return "" }

func (s linkSlot) read(ctx context.Context, key string) (engine.Value, error) {
	mtus, err := MTUs(ctx, s.host)
	if err != nil {
		return engine.Value{}, err
	}
	return mtuOf(mtus, key)
}

func mtuOf(mtus []MTU, key string) (engine.Value, error) {
	_, name, _ := strings.Cut(key, " of ")
	for _, m := range mtus {
		if m.Interface == name {
			return engine.Value{Text: strconv.Itoa(m.Bytes)}, nil
		}
	}
	return engine.Value{}, fmt.Errorf("interface %s: %w", name, engine.ErrGone)
}

// writes implements writer.
func (s linkSlot) writes(_ context.Context, list []assignment) (ops []host.Op, done func([]host.Answer) error, err error) {
	for _, a := range list {
		_, name, _ := strings.Cut(a.key, " of ")
		ops = append(ops, host.Op{Run: &host.Command{Argv: []string{"ip", "link", "set", "dev", name, "mtu", a.to.Text}}})
	}
	return append(ops, linksOp), func(answers []host.Answer) error {
		if err := answers[len(list)].Failed(); err != nil {
			return err
		}
		for i := range list {
			var err error
			if list[i].got, err = mtuOf(mtusIn(string(answers[len(list)].Stdout)), list[i].key); err == nil {
				err = answers[i].Failed()
			}
			list[i].err = err
		}
		return nil
	}, nil
}
