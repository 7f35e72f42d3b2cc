// Package team sets up new hosts for the people of a team: accounts, keys, sudo, ssh config and tools. It records on the host what it makes
// before it makes it, so that it can be reverted. What exists already is neither changed nor removed. Drivers reach the hosts;
// scripts/team.sh runs there.
package team

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"isukit"
	"isukit/infra/host"
)

// Kind is a kind of thing, in the order in which things are made: an account before its key.
type Kind string

// The kinds.
const (
	User   Kind = "user"   // an account with a home
	Key    Kind = "key"    // a line of the account's authorized_keys
	Sudo   Kind = "sudo"   // the account may become root without a password
	Config Kind = "config" // a file of /etc/ssh/ssh_config.d
	Tool   Kind = "tool"   // a package of the distribution
)

// Item is one thing on a host.
type Item struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	Text string `json:"text,omitempty"` // of a key or a file; the packages that came with a tool
	Made bool   `json:"made"`           // false while it is being made or taken away
}

func (i Item) same(o Item) bool {
	return i.Kind == o.Kind && i.Name == o.Name && (i.Kind != Key || i.Text == o.Text)
}

// String is the item as people read it.
func (i Item) String() string {
	if i.Kind == Key {
		fields := strings.Fields(i.Text)
		return fmt.Sprintf("key of %s (%s)", i.Name, fields[len(fields)-1])
	}
	return string(i.Kind) + " " + i.Name
}

// Check is an error if the item is invalid.
func (i Item) Check() error {
	letters := "abcdefghijklmnopqrstuvwxyz0123456789-_"
	if i.Kind == Tool || i.Kind == Config {
		letters += "+."
	}
	if i.Name == "" || len(i.Name) > 64 || strings.Trim(i.Name, letters) != "" || strings.ContainsAny(i.Name[:1], "-.+") {
		return fmt.Errorf("%q cannot be the name of a %s: want small letters, digits, '-' and '_'", i.Name, i.Kind)
	}
	if i.Kind == Key && (strings.ContainsAny(i.Text, "\r\n") || len(strings.Fields(i.Text)) < 2) {
		return fmt.Errorf("key of %s: want one line of a public key", i.Name)
	}
	return nil
}

// dir is for the record; it is not the driver's, which goes when a topology does.
const dir = "/var/lib/isukit-team"

const recordFile = dir + "/inventory.json"

// Change is what was done, or would be, about one thing.
type Change struct {
	Item Item   `json:"item"`
	What string `json:"what"` // "made", "removed", "there already", "made earlier"
}

// Inventory is what was made on a host, in the order in which it was.
func Inventory(ctx context.Context, h host.Host) ([]Item, error) {
	text, err := h.Get(ctx, recordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []Item
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of %s: %w", h.About().Name, err)
	}
	return list, nil
}

func save(ctx context.Context, h host.Host, list []Item) error {
	text, err := json.MarshalIndent(list, "", " ")
	if err == nil {
		err = h.Put(ctx, recordFile, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the record of %s: %w", h.About().Name, err)
	}
	return nil
}

// Options are for Init.
type Options struct {
	DryRun bool // nothing is made
	Force  bool // overwrite files that others have written or changed
	// Progress is called with what is being made; nil: not called.
	Progress func(string)
}

// ErrForeign says that a file with that name and another text is there, and that isukit has not written it.
var ErrForeign = errors.New("written outside isukit")

// Init makes what is wanted and is not there, besides what an earlier Init has made. It goes on with what a killed one had begun.
func Init(ctx context.Context, h host.Host, want []Item, o Options) (done []Change, err error) {
	list, err := Inventory(ctx, h)
	if err != nil {
		return nil, err
	}
	for _, i := range want {
		if err := i.Check(); err != nil {
			return done, err
		}
		n := slices.IndexFunc(list, i.same)
		state, err := script(ctx, h, i, "look")
		if err != nil {
			return done, err
		}
		if state == "other" && n >= 0 && list[n].Made { // it may be what an earlier Init has written
			if state, err = script(ctx, h, list[n], "look"); err != nil {
				return done, err
			}
			state = map[string]string{"there": "absent"}[state]
		}
		what, make, err := decide(n >= 0, n >= 0 && list[n].Made, state, o.Force)
		if err != nil {
			return done, fmt.Errorf("%s on %s: %w", i, h.About().Name, err)
		}
		done = append(done, Change{i, what})
		if !make || o.DryRun {
			continue
		}
		if o.Progress != nil {
			o.Progress(fmt.Sprintf("%s on %s", i, h.About().Name))
		}
		if n < 0 {
			list, n = append(list, i), len(list)
		}
		list[n].Made = false
		if i.Kind == Tool && list[n].Text == "" { // without such a package it fails before anything is recorded
			if list[n].Text, err = script(ctx, h, i, "plan"); err != nil {
				return done, err
			}
		}
		if i.Kind == Config { // what a killed Init had written is known by either text
			list[n].Text = i.Text
		}
		if err := save(ctx, h, list); err != nil {
			return done, err
		}
		if _, err := script(ctx, h, i, "add"); err != nil {
			return done, err
		}
		list[n].Made = true
		if err := save(ctx, h, list); err != nil {
			return done, err
		}
	}
	return done, nil
}

// decide returns what to do about an item that was recorded or made completely; state is "there", "absent", or of another program.
func decide(recorded, made bool, state string, force bool) (what string, make bool, err error) {
	switch {
	case state == "there" && !recorded:
		return "there already", false, nil
	case state == "there" && made:
		return "made earlier", false, nil
	case state != "there" && state != "absent" && (made || !recorded) && !force:
		return "", false, ErrForeign
	}
	return "made", true, nil
}

// Revert reverts what an Init has made, last first, except items that keep holds on to; nil is none. The rest stays recorded.
func Revert(ctx context.Context, h host.Host, keep func(Item) bool) (done []Change, err error) {
	list, err := Inventory(ctx, h)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, i := range slices.Backward(slices.Clone(list)) {
		if keep != nil && keep(i) {
			continue
		}
		if _, err := script(ctx, h, i, "del"); err != nil {
			errs = append(errs, err)
			continue
		}
		list = slices.DeleteFunc(list, i.same)
		done = append(done, Change{i, "removed"})
		if err := save(ctx, h, list); err != nil {
			return done, errors.Join(append(errs, err)...)
		}
	}
	if len(list) == 0 && len(errs) == 0 {
		errs = append(errs, h.Remove(ctx, dir))
	}
	return done, errors.Join(errs...)
}

func script(ctx context.Context, h host.Host, i Item, verb string) (string, error) {
	text, err := fs.ReadFile(isukit.Assets, "scripts/team.sh")
	if err != nil {
		return "", err
	}
	res, err := h.Run(ctx, host.Command{
		Argv: []string{"sh", "-c", string(text), "team.sh", string(i.Kind), verb, i.Name}, Stdin: []byte(i.Text), Dir: "/",
	})
	if err == nil && res.Code != 0 {
		lines := strings.Split(strings.TrimSpace(string(res.Stderr)), "\n")
		err = fmt.Errorf("exit status %d: %s", res.Code, strings.Join(lines[max(0, len(lines)-3):], "; "))
	}
	if err != nil {
		return "", fmt.Errorf("%s %s on %s: %w", verb, i, h.About().Name, err)
	}
	return strings.TrimSpace(string(res.Stdout)), nil
}
