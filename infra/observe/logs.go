package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/project"
	"isukit/input"
)

// Mark is where a log stood before a round.
type Mark struct {
	Log project.Log
	// size and inode are of the file; size is 0 after it was moved aside.
	size  int64
	inode string
	// Aside is where the log was moved to; "" when it was left alone.
	Aside string
}

// asRoot tries a command, and again with sudo where that needs no password.
const asRoot = `try() { "$@" 2>/dev/null || sudo -n "$@"; }; `

// readAs sets $as to what a command that reads the file $1 needs before it: nothing, or sudo. It ends the script where neither
// helps; in a pipe the failure of the command would be lost.
const readAs = `as=
if [ ! -r "$1" ]; then
	as="sudo -n"
	$as test -r "$1" 2>/dev/null || { echo "no right to read $1" >&2; exit 1; }
fi
`

// commandLimit is how long looking at a log or moving it may take.
const commandLimit = 30 * time.Second

// MarkLog notes where a log ends. One that its server can reopen is moved aside first, to FILE.STAMP, so that the round's is
// a file of its own.
func MarkLog(ctx context.Context, at host.Host, l project.Log, stamp string) (Mark, error) {
	m := Mark{Log: l}
	text, err := shell(ctx, at, commandLimit, asRoot+`try stat -c '%s %i' "$1"`, l.File)
	if err != nil {
		return m, fmt.Errorf("log %s of %s: %w", l.File, l.Host, err)
	}
	size, inode, _ := strings.Cut(strings.TrimSpace(text), " ")
	if m.size, err = strconv.ParseInt(size, 10, 64); err != nil {
		return m, fmt.Errorf("log %s of %s: stat says %q", l.File, l.Host, text)
	}
	m.inode = inode
	if l.Reopen == "" || m.size == 0 {
		return m, nil
	}
	aside := l.File + "." + stamp
	if _, err := shell(ctx, at, commandLimit, asRoot+`try mv "$1" "$2" && eval "$3"`, l.File, aside, l.Reopen); err != nil {
		return m, fmt.Errorf("move log %s of %s aside: %w", l.File, l.Host, err)
	}
	m.size, m.inode, m.Aside = 0, "", aside
	return m, nil
}

// Grown is how many bytes were written to the log since its mark; a log that is gone has none.
func (m Mark) Grown(ctx context.Context, at host.Host) int64 {
	text, err := shell(ctx, at, commandLimit, asRoot+`try stat -c '%s %i' "$1"`, m.Log.File)
	if err != nil {
		return 0
	}
	size, inode, _ := strings.Cut(strings.TrimSpace(text), " ")
	n, _ := strconv.ParseInt(size, 10, 64)
	if m.inode != "" && inode != m.inode {
		return n
	}
	return max(0, n-m.size)
}

// Fetch puts what was written to the log since its mark into dir, and returns the file, which may be packed, and what may be
// missing from it.
func (m Mark) Fetch(ctx context.Context, at host.Host, dir string) (file string, warnings []string, err error) {
	text, err := shell(ctx, at, commandLimit, asRoot+`try stat -c '%s %i' "$1"`, m.Log.File)
	if err != nil {
		return "", nil, fmt.Errorf("log %s of %s: %w", m.Log.File, m.Log.Host, err)
	}
	size, inode, _ := strings.Cut(strings.TrimSpace(text), " ")
	from := m.size
	if n, _ := strconv.ParseInt(size, 10, 64); n < from || m.inode != "" && inode != m.inode {
		from = 0
		warnings = append(warnings, fmt.Sprintf("log %s of %s was rotated by somebody else in the meantime: what was written before is missing", m.Log.File, m.Log.Host))
	}
	file = filepath.Join(dir, m.Log.Host+"-"+strings.ReplaceAll(strings.Trim(m.Log.File, "/"), "/", "-"))
	if at.About().Here {
		if err := copyFrom(m.Log.File, from, file); !errors.Is(err, os.ErrPermission) {
			return file, warnings, err
		}
	}
	more, err := m.fetchPacked(ctx, at, from, file)
	return file, append(warnings, more...), err
}

// copyFrom copies a file of this machine from an offset on.
func copyFrom(file string, offset int64, to string) (err error) {
	in, err := input.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := in.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// fetchLimit is how long packing and fetching a log may take; maxLogBytes is how much of its end is taken.
const (
	fetchLimit  = 3 * time.Minute
	maxLogBytes = 900 << 20 // logs pack to a fifteenth or less, and host.MaxFileBytes is the most that comes over at once
)

func (m Mark) fetchPacked(ctx context.Context, at host.Host, from int64, to string) ([]string, error) {
	script := asRoot + readAs + `umask 077
t=$(mktemp) || exit 1
size=$(try stat -c %s "$1")
from=$2
if [ $((size - from)) -gt $3 ]; then from=$((size - $3)); echo cut; fi
$as tail -c +$((from + 1)) "$1" | gzip -1 > "$t" || exit 1
echo "$t"`
	text, err := shell(ctx, at, fetchLimit, script, m.Log.File, strconv.FormatInt(from, 10), strconv.Itoa(maxLogBytes))
	if err != nil {
		return nil, fmt.Errorf("fetch log %s of %s: %w", m.Log.File, m.Log.Host, err)
	}
	lines := strings.Fields(text)
	if len(lines) == 0 {
		return nil, fmt.Errorf("fetch log %s of %s: the host names no file", m.Log.File, m.Log.Host)
	}
	packed := lines[len(lines)-1]
	data, err := at.Get(ctx, packed)
	err = errors.Join(err, at.Remove(context.WithoutCancel(ctx), packed))
	if err != nil {
		return nil, fmt.Errorf("fetch log %s of %s: %w", m.Log.File, m.Log.Host, err)
	}
	var warnings []string
	if len(lines) > 1 {
		warnings = append(warnings, fmt.Sprintf("log %s of %s has more than %d MiB: its beginning is missing", m.Log.File, m.Log.Host, maxLogBytes>>20))
	}
	return warnings, os.WriteFile(to, data, 0o600)
}
