package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"isukit/infra/engine/mysql"
	"isukit/infra/engine/nginx"
	"isukit/infra/host"
)

// Path is a way from one host to a server on another, as it was tried.
type Path struct {
	From, To string // names of hosts
	Target
	Tried
}

func (p Path) String() string { return fmt.Sprintf("%s -> %s (%s)", p.From, p.Address, p.Kind) }

func (o *Observed) host(name string) Host {
	for _, h := range o.Hosts {
		if h.Name == name {
			return h
		}
	}
	return Host{}
}

// linkOf is the interface of a host that has an address; without one it is the only one besides the loopback.
func (h Host) linkOf(address string) Link {
	var others []Link
	for _, l := range h.Links {
		if slices.Contains(l.Addresses, address) {
			return l
		}
		if l.Name != "lo" && l.Up {
			others = append(others, l)
		}
	}
	if len(others) == 1 && address == "" {
		return others[0]
	}
	return Link{}
}

// ends are the interfaces at both ends of a path.
func (o *Observed) ends(p Path) (from, to Link) {
	address, _, err := net.SplitHostPort(p.Address)
	if err != nil {
		address = p.Address
	}
	h := o.host(p.From)
	from = h.linkOf(h.Address)
	if from.Name == "" {
		from = h.linkOf("")
	}
	return from, o.host(p.To).linkOf(address)
}

func mtuBlackHole(o *Observed, add func(Finding)) {
	for _, p := range o.Paths {
		if p.Plain.OK || p.Plain.Stage == "connect" || !p.Small.OK {
			continue
		}
		from, to := o.ends(p)
		seen := fmt.Sprintf("it connects, but then: %s; with segments of %d bytes it works in %d ms", p.Plain.Error, smallMSS, p.Small.Took.Milliseconds())
		if p.Plain.MSS > 0 {
			seen += fmt.Sprintf(" (MSS %d, %d retransmits)", p.Plain.MSS, p.Plain.Retransmits)
		}
		seen += ". " + sweepText(p.Sweep) + mtuText(p.From, from, p.To, to)
		add(Finding{Severity: Crit, Host: p.From, Subject: p.String(), Seen: seen, Fix: setMTU(p, from, to)})
	}
}

func sweepText(s Sweep) string {
	switch {
	case s.PathMTU == 0:
		return "Pings are not answered, so the path's MTU is not known."
	case s.Lost():
		return fmt.Sprintf("A packet of %d bytes that must not be cut is lost without a word, %d bytes arrive.", s.LinkMTU, s.PathMTU)
	}
	return fmt.Sprintf("Packets of %d bytes arrive.", s.PathMTU)
}

func mtuText(fromHost string, from Link, toHost string, to Link) string {
	if from.MTU == 0 || to.MTU == 0 {
		return ""
	}
	return fmt.Sprintf(" The MTU is %d at %s (%s) and %d at %s (%s)", from.MTU, fromHost, from.Name, to.MTU, toHost, to.Name)
}

// setMTU is the command that gives the ends the MTU of the path.
func setMTU(p Path, from, to Link) string {
	mtu := p.Sweep.PathMTU
	if mtu == 0 || mtu > 1500 {
		mtu = 1500
	}
	name := func(l Link) string {
		if l.Name == "" {
			return "eth0"
		}
		return l.Name
	}
	return fmt.Sprintf("ip link set dev %s mtu %d   # on %s, and on %s: ip link set dev %s mtu %d; tcp_mtu_probing only hides it, for 7 s of each connection",
		name(from), mtu, p.From, p.To, name(to), mtu)
}

func mtuPath(o *Observed, add func(Finding)) {
	said := map[string]bool{}
	for _, p := range o.Paths {
		way := p.From + " " + p.To
		if !p.Sweep.Lost() || said[way] || !p.Plain.OK && p.Small.OK {
			continue // the black hole is found by another check
		}
		said[way] = true
		from, to := o.ends(p)
		f := Finding{Severity: Warn, Host: p.From, Subject: p.From + " -> " + p.To, Seen: sweepText(p.Sweep) + mtuText(p.From, from, p.To, to), Fix: setMTU(p, from, to)}
		if p.Plain.OK && p.Plain.MSS > 0 && p.Plain.MSS < p.Sweep.PathMTU {
			f.Severity = Note // something on the way makes TCP's segments smaller
			f.Seen += fmt.Sprintf("; TCP keeps to segments of %d bytes", p.Plain.MSS)
		}
		add(f)
	}
}

func mtuDiffers(o *Observed, add func(Finding)) {
	said := map[string]bool{}
	for _, p := range o.Paths {
		from, to := o.ends(p)
		way := strings.Join(slices.Sorted(slices.Values([]string{p.From, p.To})), " ")
		if from.MTU == 0 || to.MTU == 0 || from.MTU == to.MTU || said[way] {
			continue
		}
		said[way] = true
		add(Finding{
			Severity: Warn, Host: p.From, Subject: p.From + " and " + p.To,
			Seen: strings.TrimSpace(mtuText(p.From, from, p.To, to)) + ": large packets from one side may be lost",
			Fix:  fmt.Sprintf("ip link set dev IFACE mtu %d   # on the host with the larger one (%s: %s, %s: %s)", min(from.MTU, to.MTU), p.From, from.Name, p.To, to.Name),
		})
	}
}

// The doubt of a clock comes from how long it took to ask; skew that could be doubt is none.
const skewWarn = 500 * time.Millisecond

func clocksApart(o *Observed, add func(Finding)) {
	for _, h := range o.Hosts {
		ahead := h.ClockAhead.Abs()
		if ahead-h.ClockDoubt < skewWarn {
			continue
		}
		way := "ahead of"
		if h.ClockAhead < 0 {
			way = "behind"
		}
		f := Finding{Severity: Warn, Host: h.Name, Subject: "clock", Fix: "timedatectl set-ntp true && chronyc -a makestep   # or: date -s @SECONDS"}
		f.Seen = fmt.Sprintf("%.1f s %s this machine's (give or take %.1f s): logs and rounds do not line up, and tokens expire early", ahead.Seconds(), way, h.ClockDoubt.Seconds())
		add(f)
	}
}

func ipChecksum(o *Observed, add func(Finding)) {
	dropped := false
	for _, h := range o.Hosts {
		bad := h.ChecksumErrors + h.HeaderErrors
		if bad <= 0 {
			continue
		}
		var programs []string
		for _, other := range o.Hosts {
			for _, p := range other.EgressPrograms {
				programs = append(programs, other.Name+": "+p)
			}
		}
		f := Finding{Severity: Crit, Host: h.Name, Subject: "IP header", Fix: "tc filter show dev eth0 egress   # on each peer; a program that rewrites the header must use bpf_l3_csum_replace, not BPF_F_RECOMPUTE_CSUM"}
		f.Seen = fmt.Sprintf("%d packets came with a bad IP header within %.1f s and were dropped (InCsumErrors %d, InHdrErrors %d)", bad, h.Over.Seconds(), h.ChecksumErrors, h.HeaderErrors)
		if len(programs) > 0 {
			f.Seen += "; BPF on what hosts send: " + strings.Join(programs, "; ")
		}
		add(f)
		dropped = true
	}
	if dropped {
		return
	}
	// A switch or router that drops them has the counters to itself.
	for _, p := range o.Paths {
		if programs := o.host(p.From).EgressPrograms; len(programs) > 0 && p.Plain.Stage == "connect" && !p.Small.OK && strings.Contains(p.Plain.Error, "timeout") {
			add(Finding{Severity: Warn, Host: p.From, Subject: p.String(), Seen: "no packet comes back, and a BPF program works on what the host sends: " + strings.Join(programs, "; "),
				Fix: "tc filter del dev eth0 egress   # to see whether it is the program: one that rewrites the IP header must use bpf_l3_csum_replace"})
			break
		}
	}
}

// Reachable is an address under which other hosts reach the host; "" where only the loopback is known.
func (h Host) Reachable() string {
	if ip := net.ParseIP(h.Address); ip != nil && !ip.IsLoopback() {
		return h.Address
	}
	for _, l := range h.Links {
		for _, a := range l.Addresses {
			if l.Up && !loopback(a) {
				return a
			}
		}
	}
	return ""
}

// LookDeeper reads the files of the databases and nginx that run on a host, and sends requests to the upstreams of nginx's caches. It adds
// servers that are not among the host's Databases and Proxies as far as their files describe them.
func LookDeeper(ctx context.Context, at host.Host, h *Host, probe Probe) error {
	var errs []error
	for i := range h.Processes {
		p := &h.Processes[i]
		switch {
		case p.Name == "mysqld" || p.Name == "mariadbd":
			errs = append(errs, h.optionsOf(ctx, at, p))
		case p.Name == "nginx" && len(nginx.Master(strings.Join(p.Argv, " "))) > 0 && len(h.Proxies) == 0:
			n, err := LookAtNginx(ctx, at, p.String(), nginx.Master(strings.Join(p.Argv, " "))...)
			errs = append(errs, err)
			if err == nil {
				h.Proxies = append(h.Proxies, n)
			}
		}
	}
	for i := range h.Proxies {
		errs = append(errs, h.Proxies[i].ask(ctx, at, probe))
	}
	return errors.Join(errs...)
}

func (h *Host) optionsOf(ctx context.Context, at host.Host, p *Process) error {
	files, err := mysql.ReadOptions(ctx, at, p.Argv)
	if err != nil {
		return err
	}
	if p.Rules, err = LookAtProfile(ctx, at, "", *p); err != nil {
		return err
	}
	i := slices.IndexFunc(h.Databases, func(d Database) bool { return d.PID == p.PID })
	if i < 0 {
		h.Databases, i = append(h.Databases, Database{Name: p.String(), PID: p.PID}), len(h.Databases)
	}
	h.Databases[i].Options = files
	return nil
}

// ask sends a request to the upstreams of caches.
func (n *Nginx) ask(ctx context.Context, at host.Host, probe Probe) error {
	targets := n.Targets()
	keys := slices.Sorted(maps.Keys(targets))
	var list []Target
	for _, k := range keys {
		list = append(list, targets[k])
	}
	if len(list) == 0 || len(probe.Argv) == 0 {
		return nil
	}
	tried, err := probe.From(ctx, at, list)
	if err != nil {
		return err
	}
	n.Answers = map[string]Tried{}
	for i, k := range keys {
		n.Answers[k] = tried[i]
	}
	return nil
}

// Ways are targets on other hosts, by the host from which they are to be tried.
type Ways map[string][]Way

// Way is a target on a host.
type Way struct {
	To string
	Target
}

// TryWays tries all ways, those of one host in parallel. The paths come in the order of the hosts' names.
func TryWays(ctx context.Context, hosts map[string]host.Host, ways Ways, probe Probe) ([]Path, error) {
	var paths []Path
	var errs []error
	for _, from := range slices.Sorted(maps.Keys(ways)) {
		var targets []Target
		for _, w := range ways[from] {
			targets = append(targets, w.Target)
		}
		tried, err := probe.From(ctx, hosts[from], targets)
		errs = append(errs, err)
		for i, t := range tried {
			paths = append(paths, Path{From: from, To: ways[from][i].To, Target: targets[i], Tried: t})
		}
	}
	return paths, errors.Join(errs...)
}
