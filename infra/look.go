package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
	"isukit/infra/plan"
)

// readyFile is in the directory of a database whose data is whole; it says what the data is.
const readyFile = "data.ready"

// look finds out what is there of everything that is wanted or was made.
func look(ctx context.Context, h host.Host, want []plan.Wanted, made []plan.Item) ([]plan.Actual, error) {
	var items []plan.Item
	for _, w := range want {
		items = append(items, w.Item)
	}
	for _, m := range made {
		if !slices.ContainsFunc(items, m.Same) {
			items = append(items, m)
		}
	}
	far, err := lookFar(ctx, h, items)
	if err != nil {
		return nil, err
	}
	var list []plan.Actual
	for _, i := range items {
		if a, ok := far.actual(i); ok {
			a.Text = textOf(want, i)
			list = append(list, a)
			continue
		}
		a, err := lookAt(ctx, h, i)
		if err != nil {
			return nil, fmt.Errorf("look at %s on %s: %w", i.What(), h.About().Name, err)
		}
		if i.Kind == plan.Account || i.Kind == plan.Rules { // they are not asked for: what was made is believed
			for _, m := range made {
				if m.Same(i) && m.Made {
					a.Hash, a.Exists = m.Hash, true
				}
			}
		}
		list = append(list, a)
	}
	return list, nil
}

// textOf is the text that a file is to have.
func textOf(want []plan.Wanted, i plan.Item) []byte {
	if n := slices.IndexFunc(want, func(w plan.Wanted) bool { return w.Same(i) }); n >= 0 {
		return want[n].Text
	}
	return nil
}

func lookAt(ctx context.Context, h host.Host, i plan.Item) (plan.Actual, error) {
	a := plan.Actual{Item: plan.Item{Kind: i.Kind, Name: i.Name, Owner: i.Owner}}
	switch i.Kind {
	case plan.File:
		text, err := h.Get(ctx, i.Name)
		if errors.Is(err, fs.ErrNotExist) {
			return a, nil
		}
		a.Text, a.Hash, a.Exists = text, plan.Hash(text), true
		return a, err
	case plan.Data:
		text, err := h.Get(ctx, path.Join(h.About().Dir, i.Name, readyFile))
		if errors.Is(err, fs.ErrNotExist) {
			return a, nil
		}
		a.Hash, a.Exists = strings.TrimSpace(string(text)), true
		return a, err
	case plan.Service:
		st, err := h.State(ctx, i.Name)
		if errors.Is(err, host.ErrUnknownService) {
			return a, nil
		}
		a.Hash, a.Exists, a.Running, a.Exit = st.Stamp, true, st.Running, st.Exit
		return a, err
	}
	return a, nil
}

// farLook is what a host that is not this machine was asked at once: each question takes a round trip, and the app's binary is
// too much to be fetched each time. nil is for a host that is this machine.
type farLook struct {
	hashes map[string]string // of files that are there
	ready  map[string]string // what the data of databases is
	states map[string]host.State
}

// lookScript prints the hashes of those of the files in its input, one a line, that are there; of those after an empty line,
// their first lines.
const lookScript = `while read -r file && [ -n "$file" ]; do [ ! -e "$file" ] || sha256sum -- "$file" || exit 1; done
while read -r file; do [ ! -e "$file" ] || printf 'ready %s %s\n' "$(head -n 1 -- "$file")" "$file" || exit 1; done`

func lookFar(ctx context.Context, h host.Host, items []plan.Item) (*farLook, error) {
	lister, ok := h.(host.Lister)
	if !ok || h.About().Here {
		return nil, nil
	}
	var files, data strings.Builder
	for _, i := range items {
		switch i.Kind {
		case plan.File:
			files.WriteString(i.Name + "\n")
		case plan.Data:
			data.WriteString(path.Join(h.About().Dir, i.Name, readyFile) + "\n")
		}
	}
	far := &farLook{hashes: map[string]string{}, ready: map[string]string{}}
	var res host.Result
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		res, err = h.Run(ctx, host.Command{Argv: []string{"sh", "-c", lookScript}, Stdin: []byte(files.String() + "\n" + data.String())})
		if err == nil && res.Code != 0 {
			err = fmt.Errorf("exit status %d: %s", res.Code, tailOf(res.Stderr))
		}
		if err != nil {
			err = fmt.Errorf("look at files on %s: %w", h.About().Name, err)
		}
		return err
	})
	group.Go(func() (err error) {
		far.states, _, err = lister.States(ctx)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(res.Stdout)) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "ready "); ok {
			end := strings.LastIndexByte(rest, ' ') // isukit's directories have none in their names
			far.ready[path.Base(path.Dir(rest[end+1:]))] = strings.TrimSpace(rest[:end])
			continue
		}
		hash, name, _ := strings.Cut(line, "  ")
		far.hashes[name] = hash
	}
	return far, nil
}

// actual is what was found of an item; a file that is not what was made has to be looked at itself.
func (f *farLook) actual(i plan.Item) (a plan.Actual, ok bool) {
	if f == nil {
		return a, false
	}
	a.Item = plan.Item{Kind: i.Kind, Name: i.Name, Owner: i.Owner}
	switch i.Kind {
	case plan.File:
		a.Hash, a.Exists = f.hashes[i.Name], f.hashes[i.Name] != ""
		return a, !a.Exists || a.Hash == i.Hash
	case plan.Data:
		a.Hash, a.Exists = f.ready[i.Name], f.ready[i.Name] != ""
		return a, true
	case plan.Service:
		var st host.State
		if st, a.Exists = f.states[i.Name]; a.Exists {
			a.Hash, a.Running, a.Exit = st.Stamp, st.Running, st.Exit
		}
		return a, true
	}
	return a, false
}
