package tune

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"isukit/infra/host"
)

// maxRecordName is how many bytes the name of a record's file has; of longer keys it is the beginning and a hash.
const maxRecordName = 200

// store keeps the records of a target on its host: DIR/TARGET/LAYER/KEY. While an operation is under way it remembers them.
type store struct {
	host host.Host
	dir  string
	// held are all records of the target, by file, since read; nil if unknown. staged are those to be written.
	held   map[string]*Record
	staged []string
}

func (s *store) path(layer Layer, key string) string {
	name := url.PathEscape(key)
	if len(name) > maxRecordName {
		name = fmt.Sprintf("%s-%x", name[:maxRecordName-40], sha256.Sum256([]byte(key)))[:maxRecordName]
	}
	return path.Join(s.dir, string(layer), name)
}

// open reads the records, unless that was done; they are remembered until close.
func (s *store) open(ctx context.Context) error {
	if s.held != nil {
		return nil
	}
	held, err := readRecords(ctx, s.host, s.dir, s.dir)
	s.held = held[s.dir]
	if err == nil && s.held == nil {
		s.held = map[string]*Record{}
	}
	return err
}

func (s *store) close() { s.held, s.staged = nil, nil }

// stage adds ops that write the record, which is remembered immediately. An empty record is removed.
func (s *store) stage(r *Record) {
	name := s.path(r.Layer, r.Key)
	if s.held == nil {
		s.held = map[string]*Record{}
	}
	if s.held[name] = r.clone(); len(r.Writes) == 0 && !r.Pending && r.Held == nil {
		delete(s.held, name)
	}
	if !slices.Contains(s.staged, name) {
		s.staged = append(s.staged, name)
	}
}

// ops bring what is staged to disk, in the order of a batch before what follows.
func (s *store) ops() (ops []host.Op) {
	sync, gone := []string{}, []string{}
	for _, name := range s.staged {
		r := s.held[name]
		if r == nil {
			gone = append(gone, name)
			continue
		}
		ops = append(ops, host.Op{Put: &host.File{Path: name, Data: r.encode(), Mode: 0o600}})
		if dir := path.Dir(name); !slices.Contains(sync, dir) {
			sync = append(sync, dir)
		}
	}
	if len(sync) > 0 && s.host.About().Here { // Put may leave the directory's entry to the system
		ops = append(ops, host.Op{Run: &host.Command{Argv: append([]string{"sync"}, sync...)}, Must: true})
	}
	if len(gone) > 0 {
		ops = append(ops, host.Script(removeScript+emptyScript, gone...))
		ops[len(ops)-1].Must = true
	}
	s.staged = nil
	return ops
}

// flush returns when all that is staged is on disk.
func (s *store) flush(ctx context.Context) error {
	return doAll(ctx, s.host, s.ops())
}

// doAll does what must not fail.
func doAll(ctx context.Context, h host.Host, ops []host.Op) error {
	answers, err := host.Do(ctx, h, ops...)
	for _, a := range answers {
		if err == nil {
			err = a.Failed()
		}
	}
	if err != nil {
		return fmt.Errorf("keep records: %w", err)
	}
	return nil
}

// load returns the record of a key, of a store that is open; nil when there is none.
func (s *store) load(layer Layer, key string) *Record {
	if r := s.held[s.path(layer, key)]; r != nil {
		return r.clone()
	}
	return nil
}

// all returns all records.
func (s *store) all(ctx context.Context) ([]*Record, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	var list []*Record
	for _, r := range s.held {
		list = append(list, r.clone())
	}
	slices.SortFunc(list, func(a, b *Record) int {
		return strings.Compare(string(a.Layer)+a.Key, string(b.Layer)+b.Key)
	})
	return list, nil
}

// removeScript removes files and returns when the directories that they were in are on disk.
const removeScript = `rm -f -- "$@" || exit 1
last=
for file; do
	dir=${file%/*}
	[ "$dir" = "$last" ] || sync "$dir" || exit 1
	last=$dir
done`

// emptyScript removes the directories of records' files that are empty, and the one of all records.
const emptyScript = `
for file; do
	dir=${file%/*}
	rmdir -- "$dir" "${dir%/*}" "${dir%/*/*}" 2>/dev/null
done
true`

// filesScript prints all complete files below the given directories: for each its size, its name, and its content.
const filesScript = `for dir; do
	[ ! -d "$dir" ] || find "$dir" -type f ! -name '.*' ! -name '*.isukit-new' \
		-exec sh -c 'for f; do printf "%s %s\n" "$(wc -c <"$f")" "$f" && cat -- "$f" || exit 1; done' sh {} + || exit 1
done
echo end`

type recordFile struct {
	name string
	text []byte
}

// errTooMuch says that files are more than one answer of a host holds.
var errTooMuch = errors.New("too much for one answer")

// RecordsOp asks for all records below a directory, Place.StateDir.
func RecordsOp(stateDir string) host.Op { return host.Script(filesScript, stateDir) }

// filesIn reads the files below a directory, in one go.
func filesIn(ctx context.Context, h host.Host, dir string) ([]recordFile, error) {
	out, err := host.Output(ctx, h, RecordsOp(dir).Run.Argv...)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	var files []recordFile
	for out != "end\n" {
		head, rest, ok := strings.Cut(out, "\n")
		sizeText, name, named := strings.Cut(strings.TrimLeft(head, " "), " ")
		size, err := strconv.Atoi(sizeText)
		if !ok || !named || err != nil || size > len(rest) {
			return nil, fmt.Errorf("list records in %s: %w: %d bytes", dir, errTooMuch, len(out))
		}
		files, out = append(files, recordFile{name, []byte(rest[:size])}), rest[size:]
	}
	return files, nil
}

// readRecords reads the records below a directory that are in those of targets: by these, by file.
func readRecords(ctx context.Context, h host.Host, below string, dirs ...string) (map[string]map[string]*Record, error) {
	files, err := filesIn(ctx, h, below)
	if err != nil {
		return nil, err
	}
	all := map[string]map[string]*Record{}
	for _, f := range files {
		dir := path.Dir(path.Dir(f.name))
		if !slices.Contains(dirs, dir) {
			continue
		}
		r, err := decodeRecord(f.text)
		if err != nil {
			return nil, fmt.Errorf("read the record %s: %w", f.name, err)
		}
		if all[dir] == nil {
			all[dir] = map[string]*Record{}
		}
		all[dir][f.name] = r
	}
	return all, nil
}
