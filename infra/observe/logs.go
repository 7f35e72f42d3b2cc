package observe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/project"
)

// Mark is where a log stood before a round.
type Mark struct {
	Log project.Log
	// size and inode belong to the file; size is 0 after it was moved. sum is the checksum of the bytes before its end.
	size       int64
	inode, sum string
	// epoch is when that was, in seconds by the host's clock.
	epoch string
	// Zone is the host's, in which some logs write times without saying so.
	Zone *time.Location
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
	$as test -r "$1" 2>/dev/null || {
		if $as true 2>/dev/null && ! $as test -e "$1"; then echo "$1 does not exist" >&2; else echo "no right to read $1" >&2; fi
		exit 1
	}
fi
`

// lastBytes has "from", which prints a log from its byte $2 on, packed or not, and "sum": a checksum of the last $3 of its first $2 bytes.
const lastBytes = `from() {
	case $1 in
	*.gz) $as gzip -dc "$1" | tail -c +$2 ;;
	*.bz2) $as bzip2 -dc "$1" | tail -c +$2 ;;
	*.xz) $as xz -dc "$1" | tail -c +$2 ;;
	*.zst) $as zstd -qdc "$1" | tail -c +$2 ;;
	*) $as tail -c +$2 "$1" ;;
	esac
}
sum() { from "$1" $(($2 - $3 + 1)) | head -c $3 | cksum; }
`

// summedBytes is how many bytes before a mark tell whether a log still is what it was.
const summedBytes = 256

const commandLimit = 30 * time.Second

// MarkLog notes where a log ends. One that its server can reopen is renamed to FILE.STAMP, so that the round's is a file of its own.
func MarkLog(ctx context.Context, at host.Host, l project.Log, stamp string) (Mark, error) {
	m := Mark{Log: l}
	text, err := shell(ctx, at, commandLimit, asRoot+readAs+lastBytes+`date '+%s %z'; size=$(try stat -c %s "$1") && stat=$(try stat -c '%s %i' "$1") && echo $stat || exit 1
n=$2; [ $size -lt $n ] && n=$size; sum "$1" $size $n`, l.File, strconv.Itoa(summedBytes))
	if err != nil {
		return m, fmt.Errorf("log %s of %s: %w", l.File, l.Host, err)
	}
	var size, zone string
	if _, err := fmt.Sscan(text, &m.epoch, &zone, &size, &m.inode); err != nil {
		return m, fmt.Errorf("log %s of %s: stat says %q", l.File, l.Host, text)
	}
	if m.size, err = strconv.ParseInt(size, 10, 64); err != nil {
		return m, fmt.Errorf("log %s of %s: stat says %q", l.File, l.Host, text)
	}
	if t, err := time.Parse("-0700", zone); err == nil {
		m.Zone = t.Location()
	}
	_, rest, _ := strings.Cut(text, "\n")
	_, m.sum, _ = strings.Cut(rest, "\n")
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

// part is a file of a log with the offset from which on it belongs to the round.
type part struct {
	file string
	from int64
}

// parts are the files that hold what was written since the mark: the log, and before it what it was renamed or copied to.
func (m Mark) parts(ctx context.Context, at host.Host) (parts []part, warnings []string, err error) {
	// A log that was renamed and not recreated is read, too: its server may still write to it.
	text, err := shell(ctx, at, fetchLimit, asRoot+`log=$1
[ -e "$log" ] || for f in "$log".[0-9]* "$log"-[0-9]* "$log".old*; do [ ! -f "$f" ] || set -- "$f" "$2" "$3" "$4" "$5"; done
`+readAs+lastBytes+`n=$3; [ $2 -lt $n ] && n=$2
if [ "$log" = "$1" ]; then try stat -c '%s %i' "$1" && sum "$1" $2 $n || exit 1; else echo 0 gone; echo; fi
for f in "$log".[0-9]* "$log"-[0-9]* "$log".old*; do
	[ -f "$f" ] && [ "$f" != "$5" ] && t=$(LC_ALL=C stat -c %.9Y "$f") && [ ${t%.*} -ge $4 ] && echo $t $(sum "$f" $2 $n) "$f"
done | LC_ALL=C sort -n`, m.Log.File, strconv.FormatInt(m.size, 10), strconv.Itoa(summedBytes), m.epoch, m.Aside)
	if err != nil {
		return nil, nil, fmt.Errorf("log %s of %s: %w", m.Log.File, m.Log.Host, err)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	size, inode, _ := strings.Cut(lines[0], " ")
	n, _ := strconv.ParseInt(size, 10, 64)
	marked := func(sum string) bool { return strings.TrimSpace(sum) == strings.TrimSpace(m.sum) }
	older := lines[min(2, len(lines)):]
	same := n >= m.size && inode != "gone" && (m.inode == "" || inode == m.inode) && (m.size == 0 || marked(lines[1]))
	if same && (m.size > 0 || len(older) == 0) {
		return []part{{m.Log.File, m.size}}, nil, nil
	}
	whole := same
	for _, line := range older {
		words := strings.SplitN(line, " ", 4) // time, checksum, its length, name
		if len(words) < 4 {
			continue
		}
		one := part{file: words[3]}
		if m.size > 0 && marked(words[1]+" "+words[2]) {
			one.from, whole, parts = m.size, true, nil
		}
		parts = append(parts, one)
	}
	if whole = whole || m.size == 0 && len(parts) > 0; !whole {
		warnings = append(warnings, fmt.Sprintf("log %s of %s was rotated outside isukit in the meantime: the lines before the rotation are missing", m.Log.File, m.Log.Host))
	}
	if inode != "gone" {
		parts = append(parts, part{file: m.Log.File})
	}
	return parts, warnings, nil
}

// Fetch puts what was written since the mark into dir. It returns the file, which may be packed, and what may be missing.
func (m Mark) Fetch(ctx context.Context, at host.Host, dir string) (file string, warnings []string, err error) {
	parts, warnings, err := m.parts(ctx, at)
	if err != nil {
		return "", nil, err
	}
	file = filepath.Join(dir, m.Log.Host+"-"+strings.ReplaceAll(strings.Trim(m.Log.File, "/"), "/", "-"))
	pack := "gzip -1"
	if at.About().Here && len(parts) == 1 {
		pack = "cat"
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return file, warnings, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	for _, one := range parts {
		if err == nil {
			err = at.Pipe(ctx, host.Command{Argv: []string{"sh", "-c", asRoot + readAs + lastBytes + `from "$1" $(($2 + 1)) | ` + pack, "sh", one.file, strconv.FormatInt(one.from, 10)}}, nil, out)
		}
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return file, warnings, fmt.Errorf("fetch log %s of %s: %w", m.Log.File, m.Log.Host, err)
	}
	return file, warnings, nil
}

const fetchLimit = 3 * time.Minute
