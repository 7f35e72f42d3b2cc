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
	seen, err := see(ctx, h, items)
	if err != nil {
		return nil, err
	}
	var list []plan.Actual
	for _, i := range items {
		a := plan.Actual{Item: plan.Item{Kind: i.Kind, Name: i.Name, Owner: i.Owner}}
		switch i.Kind {
		case plan.File:
			a.Hash, a.Text = seen.hashes[i.Name], textOf(want, i)
			if a.Exists = a.Hash != ""; a.Exists && a.Hash != i.Hash { // what somebody else made of it
				if a.Text, err = h.Get(ctx, i.Name); err != nil {
					return nil, fmt.Errorf("inspect %s on %s: %w", i.What(), h.About().Name, err)
				}
			}
		case plan.Data:
			a.Hash = seen.ready[i.Name]
			a.Exists = a.Hash != ""
		case plan.Service:
			var st host.State
			st, a.Exists = seen.states[i.Name]
			a.Hash, a.Running, a.Exit = st.Stamp, st.Running, st.Exit
		default: // they are not asked for: what was made is believed
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

// contentsOf is what the data of a database of a host is; "" where it has none that is whole.
func contentsOf(ctx context.Context, h host.Host, name string) (string, error) {
	text, err := h.Get(ctx, path.Join(h.About().Dir, name, readyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// seen is what a host was asked at once: each question to one far away takes a round trip, and the app's binary is too much to be
// fetched each time.
type seen struct {
	hashes map[string]string // of files that are there
	ready  map[string]string // what the data of databases is
	states map[string]host.State
}

// lookScript prints the hashes of those of the files in its input, one a line, that are there; of those after an empty line,
// their first lines.
const lookScript = `while read -r file && [ -n "$file" ]; do [ ! -e "$file" ] || set -- "$@" "$file"; done
[ $# = 0 ] || sha256sum -- "$@" || exit 1
while read -r file; do [ ! -e "$file" ] || printf 'ready %s %s\n' "$(head -n 1 -- "$file")" "$file" || exit 1; done`

func see(ctx context.Context, h host.Host, items []plan.Item) (*seen, error) {
	var files, data strings.Builder
	for _, i := range items {
		switch i.Kind {
		case plan.File:
			files.WriteString(i.Name + "\n")
		case plan.Data:
			data.WriteString(path.Join(h.About().Dir, i.Name, readyFile) + "\n")
		}
	}
	all := &seen{hashes: map[string]string{}, ready: map[string]string{}}
	var out string
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		out, err = host.Must(ctx, h, host.Command{Argv: []string{"sh", "-c", lookScript}, Stdin: []byte(files.String() + "\n" + data.String())})
		if err != nil {
			err = fmt.Errorf("inspect files on %s: %w", h.About().Name, err)
		}
		return err
	})
	group.Go(func() (err error) {
		all.states, _, err = h.States(ctx)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "ready "); ok {
			end := strings.LastIndexByte(rest, ' ') // isukit's directories have none in their names
			all.ready[path.Base(path.Dir(rest[end+1:]))] = strings.TrimSpace(rest[:end])
			continue
		}
		hash, name, _ := strings.Cut(line, "  ")
		all.hashes[name] = hash
	}
	return all, nil
}
