package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/proc"
)

// Fault is what is done to the link of a host of the lab for a time, besides what the link is like anyway.
type Fault struct {
	host.Flaws
	// Stall holds all frames back until the fault ends; it needs an end.
	Stall bool `json:"stall,omitempty"`
	// Until is when it ends; zero for never.
	Until time.Time `json:"until,omitzero"`
}

func (f *Fault) String() string {
	text := f.Flaws.String()
	if f.Stall {
		text = strings.TrimSuffix("stall, "+text, ", ")
	}
	if !f.Until.IsZero() {
		text += " until " + f.Until.Format("15:04:05")
	}
	return text
}

// Check is an error if the fault is invalid.
func (f Fault) Check() error {
	if !f.Until.IsZero() && f.Over() {
		return errors.New("a fault must have time before its end")
	}
	if f.Stall && f.Until.IsZero() {
		return errors.New("a link cannot be stalled without an end (--for)")
	}
	if f.Stall {
		f.Peer, f.Way = "", "" // they limit what is stalled
	} else if (f.Flaws == host.Flaws{}) {
		return errors.New("no fault: set a delay, loss, duplicate, corrupt, cut or stall")
	}
	return f.Flaws.Check()
}

// Over tells whether a fault has ended.
func (f *Fault) Over() bool { return !f.Until.IsZero() && !time.Now().Before(f.Until) }

// Fault does this to the link of a host, instead of an earlier fault; nil ends that. It does not wait for the end.
func (d *Driver) Fault(ctx context.Context, name string, f *Fault) error {
	if f != nil {
		if err := f.Check(); err != nil {
			return err
		}
	}
	unlock, err := d.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	s, err := d.store.read()
	if err != nil {
		return err
	}
	h := s.host(name)
	if h == nil {
		return fmt.Errorf("%w: %s", host.ErrUnknownHost, name)
	}
	if f == nil && h.Fault != nil {
		if f = h.Fault; !f.Over() {
			f.Until = time.Now()
		}
	}
	if h.Fault = f; f != nil && f.Peer != "" && s.addressOf(f.Peer) == "" {
		return fmt.Errorf("%w: %s", host.ErrUnknownHost, f.Peer)
	}
	if err := d.store.onHost(name, func(h *hostRecord) error { h.Fault = f; return nil }); err != nil {
		return err
	}
	return d.carry(ctx, s, *h)
}

// addressOf is the address of a host or of the generator; "" where there is none.
func (s *state) addressOf(name string) string {
	if h := s.host(name); h != nil {
		return h.Address
	}
	return fixtureAddress(name)
}

// LastFault is the last fault of a host's link, which may have ended; nil where there was none.
func (d *Driver) LastFault(name string) (*Fault, error) {
	s, err := d.store.read()
	if h := s.host(name); err == nil && h != nil {
		return h.Fault, nil
	}
	return nil, err
}

// carry has what is asked of a host's link done by a process of its own, between the link and the switch. Where nothing is asked there is
// none: the link ends at the switch. Frames that are on their way are lost when what is asked changes.
func (d *Driver) carry(ctx context.Context, s state, h hostRecord) error {
	var faults []Fault
	for _, f := range []*Fault{{Flaws: h.Want.Flaws}, h.Fault} {
		if f == nil || *f == (Fault{}) || f.Over() {
			continue
		}
		one := *f
		if f.Peer != "" {
			peer := s.addressOf(f.Peer)
			if peer == "" {
				return fmt.Errorf("link to %q: %w", f.Peer, host.ErrUnknownHost)
			}
			one.Peer = linkAddress(peer)
		}
		faults = append(faults, one)
	}
	asked := ""
	if len(faults) > 0 {
		text, err := json.Marshal(faults)
		if err != nil {
			return err
		}
		asked = string(text)
	}
	if asked == h.Carries && (asked == "" || h.Link.Alive()) {
		return nil
	}
	name, sw := h.Want.Name, s.fixture(switchName).ID.PID
	if h.Link.PID > 0 {
		if _, err := proc.EndGroup(ctx, name, h.Link, d.ownDir(name)); err != nil {
			return err
		}
	}
	if h.Carries != "" {
		if err := errors.Join(unplug(ctx, sw, "w-"+name), tool(ctx, sw, "", "ip", "link", "set", port(name), "master", "br0")); err != nil {
			return err
		}
	}
	record := func(id proc.ID) error {
		return d.store.onHost(name, func(h *hostRecord) error { h.Carries, h.Link = asked, id; return nil })
	}
	if asked == "" {
		return record(proc.ID{})
	}
	me, err := os.Executable()
	if err != nil {
		return err
	}
	w, err := d.startHolder("scripts/lab-link.sh", name, sw, me, "lab", "link", asked)
	if err != nil {
		return err
	}
	defer w.giveUp()
	if err := record(w.id); err != nil {
		return err
	}
	if err := w.finish(ctx); err != nil {
		return fmt.Errorf("link with %s: %w", asked, err)
	}
	return nil
}

// unplug removes a device of the switch, if it is there.
func unplug(ctx context.Context, sw int, device string) error {
	err := tool(ctx, sw, "", "ip", "link", "del", device)
	if err != nil && (strings.Contains(err.Error(), "Cannot find device") || strings.Contains(err.Error(), "No such device")) {
		return nil
	}
	return err
}
