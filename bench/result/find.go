package result

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"isukit/input"
)

// ErrNoRound says that no round answers to a query.
var ErrNoRound = errors.New("no such round")

// Entry is one round's directory: its round, or why it could not be read.
type Entry struct {
	// ID is the directory's name.
	ID   string
	Path string
	// Round is nil when Err is set.
	Round *Round
	Err   error
}

// List reads the rounds below dir, newest first, with what lists show of each: without endpoints, timelines, digests, series, profiles and
// settings, which Find and Get read. A damaged round is an Entry with Err. Hidden directories and those without a round.json are skipped,
// and a dir that does not exist contains no rounds.
func List(dir string) ([]Entry, error) {
	ids, err := IDs(dir)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(ids))
	for i, id := range ids {
		r, path, err := Get(dir, id)
		if r != nil {
			r.Endpoints, r.Errors, r.Timeline, r.Roles, r.Access, r.Queries = nil, nil, nil, nil, AccessDigest{}, QueryDigest{}
			r.Series, r.Profiles, r.Settings = nil, nil, nil
		}
		entries[i] = Entry{ID: id, Path: path, Round: r, Err: err}
	}
	return entries, nil
}

// IDs are the names of the rounds' directories below dir, newest first, whether or not they can be read.
func IDs(dir string) ([]string, error) {
	ids, err := names(dir)
	if err != nil {
		return nil, fmt.Errorf("list rounds: %w", err)
	}
	return ids, nil
}

// Get reads the round with exactly that id below dir. A link out of dir is not one of its rounds.
func Get(dir, id string) (r *Round, path string, err error) {
	path = filepath.Join(dir, id)
	one, err := openID(dir, id)
	if err != nil {
		return nil, path, fmt.Errorf("read round: %w", err)
	}
	defer one.Close()
	r, err = readIn(one, filepath.Join(path, RoundFile))
	return r, path, err
}

func openID(dir, id string) (*input.Dir, error) {
	all, err := input.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	return all.Sub(id)
}

// OpenFileOf is OpenFile for the round of exactly that id below dir.
func OpenFileOf(dir, id, name string) (*os.File, error) {
	one, err := openID(dir, id)
	if err != nil {
		return nil, err
	}
	defer one.Close()
	return one.Open(name)
}

// Find returns the round that query names, and the path of its directory. A query is an id, the beginning of exactly one
// id, "last" (or "~0"), "last-1" or "~1" for the one before it and so on, or, when it holds a slash, a path for Read.
// The error wraps ErrNoRound when there is none, and lists the candidates when there are several.
func Find(dir, query string) (r *Round, path string, err error) {
	if strings.ContainsRune(query, '/') {
		r, err = Read(query)
		return r, strings.TrimSuffix(query, "/"+RoundFile), err
	}
	id, err := FindID(dir, query)
	if err != nil {
		return nil, "", err
	}
	return Get(dir, id)
}

// FindID returns the id of the round that query names, as Find does, except for paths. The round may be unreadable.
func FindID(dir, query string) (string, error) {
	ids, err := names(dir)
	if err != nil {
		return "", fmt.Errorf("find round %s: %w", query, err)
	}
	id, err := pick(ids, query)
	if err != nil {
		return "", fmt.Errorf("find round %q in %s: %w", query, dir, err)
	}
	return id, nil
}

// pick chooses from ids, which are ordered newest first.
func pick(ids []string, query string) (string, error) {
	if n, ok := stepsBack(query); ok {
		if n >= len(ids) {
			return "", fmt.Errorf("%w: there are %d", ErrNoRound, len(ids))
		}
		return ids[n], nil
	}
	if slices.Contains(ids, query) {
		return query, nil
	}
	var found []string
	for _, id := range ids {
		if query != "" && strings.HasPrefix(id, query) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return "", ErrNoRound
	case 1:
		return found[0], nil
	}
	const shown = 5
	list := strings.Join(found[:min(len(found), shown)], ", ")
	if len(found) > shown {
		list += ", ..."
	}
	return "", fmt.Errorf("%w: %d rounds begin so: %s", ErrNoRound, len(found), list)
}

// stepsBack reads "last", "last-2" and "~2".
func stepsBack(query string) (int, bool) {
	if query == "last" {
		return 0, true
	}
	digits, ok := strings.CutPrefix(query, "last-")
	if !ok {
		digits, ok = strings.CutPrefix(query, "~")
	}
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}

// names returns the names of the rounds' directories, newest first.
func names(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, e.Name(), RoundFile)); err == nil {
			ids = append(ids, e.Name())
		}
	}
	slices.SortFunc(ids, newer)
	return ids, nil
}

// newer orders ids by their start, latest first, and those of one second by the number that Write added.
func newer(a, b string) int {
	ta, tb := a[:min(len(a), len(idTime))], b[:min(len(b), len(idTime))]
	if c := cmp.Compare(tb, ta); c != 0 {
		return c
	}
	return natural(b, a)
}

// natural compares strings with each run of digits taken as a number: "x-10" comes after "x-9".
func natural(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if c := cmp.Or(cmp.Compare(len(na), len(nb)), cmp.Compare(na, nb)); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
