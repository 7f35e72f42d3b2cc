package tune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"

	"isukit/infra/host"
)

// store keeps the records of a target on its host: DIR/TARGET/LAYER/KEY. A Unix file name of up to 255 bytes takes every key
// that a kernel or server has; longer ones are refused.
type store struct {
	host host.Host
	dir  string
}

func (s store) path(layer Layer, key string) string {
	return path.Join(s.dir, string(layer), url.PathEscape(key))
}

// save returns when the record is on disk.
func (s store) save(ctx context.Context, r *Record) error {
	name := s.path(r.Layer, r.Key)
	if len(path.Base(name)) > 250 {
		return fmt.Errorf("record %s: the key is too long for a file name", r.Key)
	}
	if err := s.host.Put(ctx, name, r.encode(), 0o600); err != nil {
		return fmt.Errorf("record %s: %w", r.Key, err)
	}
	// Put may leave the directory entry to the system.
	if _, err := output(ctx, s.host, "sync", name, path.Dir(name)); err != nil {
		return fmt.Errorf("record %s: %w", r.Key, err)
	}
	return nil
}

// load returns the record of a key; nil when there is none.
func (s store) load(ctx context.Context, layer Layer, key string) (*Record, error) {
	text, err := s.host.Get(ctx, s.path(layer, key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of %s: %w", key, err)
	}
	r, err := decodeRecord(text)
	if err != nil {
		return nil, fmt.Errorf("read the record of %s (%s): %w", key, s.path(layer, key), err)
	}
	return r, nil
}

// all returns all records, those with the largest need of a restart last.
func (s store) all(ctx context.Context) ([]*Record, error) {
	out, err := output(ctx, s.host, "sh", "-c", `[ ! -d "$1" ] || find "$1" -type f ! -name '.*'`, "sh", s.dir)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	var list []*Record
	for file := range strings.Lines(out) {
		file = strings.TrimRight(file, "\n")
		layer := Layer(path.Base(path.Dir(file)))
		key, err := url.PathUnescape(path.Base(file))
		if err != nil {
			return nil, fmt.Errorf("list records: %s: %w", file, err)
		}
		r, err := s.load(ctx, layer, key)
		if err != nil {
			return nil, err
		}
		if r != nil {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *Record) int {
		return strings.Compare(string(a.Layer)+a.Key, string(b.Layer)+b.Key)
	})
	return list, nil
}

// remove forgets a record, durably.
func (s store) remove(ctx context.Context, r *Record) error {
	name := s.path(r.Layer, r.Key)
	if err := s.host.Remove(ctx, name); err != nil {
		return fmt.Errorf("forget the record of %s: %w", r.Key, err)
	}
	_, err := output(ctx, s.host, "sync", path.Dir(name))
	return err
}

// output runs a command on a host and returns what it printed; an exit status other than 0 is an error with its complaint.
func output(ctx context.Context, h host.Host, argv ...string) (string, error) {
	res, err := h.Run(ctx, host.Command{Argv: argv})
	if err != nil {
		return "", err
	}
	if res.Code != 0 {
		said := strings.TrimSpace(string(res.Stderr))
		if said == "" {
			said = strings.TrimSpace(string(res.Stdout))
		}
		return string(res.Stdout), fmt.Errorf("%s: exit status %d: %s", path.Base(argv[0]), res.Code, lastLine(said))
	}
	return string(res.Stdout), nil
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }
