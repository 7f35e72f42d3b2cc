package infra

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
	"isukit/infra/redact"
)

// Size returns the CPUs and the memory of a host of the topology.
func (r *Running) Size(hostName string) (cpus float64, memoryBytes int64) {
	m := r.input.MachineOf(hostName)
	return m.CPUs, m.MemoryBytes
}

func (r *Running) pidsOf(ctx context.Context, i Instance) ([]int, error) {
	at := r.hosts[i.Host]
	st, err := at.State(ctx, i.Name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("list processes: %w", err)
	case st.Running && at.About().Here:
		others := slices.DeleteFunc(host.GroupPIDs(st.Group), func(pid int) bool { return pid == st.PID })
		return append([]int{st.PID}, others...), nil
	case st.Running:
		return []int{st.PID}, nil
	}
	return nil, nil
}

// Artifact is a file that SaveLogs wrote.
type Artifact struct {
	Path      string // relative to the directory that was asked for, e.g. "db-1/error.log"
	SizeBytes int64
	About     string
}

const maxLogBytes = 64 << 20

// logs are the files that SaveLogs keeps, with what they are. Only these: others may hold secrets.
var logs = []struct{ name, about string }{
	{accessLog, "requests, as the proxy logged them"},
	{errorLog, "errors and warnings"},
	{slowLog, "slow queries"},
	{outputLog, "what the program printed"},
}

// SaveLogs copies the logs of every instance into dir, which is made: those of a host in one go. Empty logs are left out, of large ones
// the end is kept, and should a secret of the run have got into one, it is replaced. What a host has that is away is in the error, which
// is host.ErrUnreachable; the rest is saved.
func (r *Running) SaveLogs(ctx context.Context, dir string) ([]Artifact, error) {
	var saved []Artifact
	var away []error
	for _, h := range r.input.Topology.Hosts {
		var list []Artifact
		var files []string
		for _, i := range r.Instances {
			for _, log := range logs {
				if i.Host == h.Name {
					list = append(list, Artifact{Path: filepath.Join(i.Name, log.name), About: log.about})
					files = append(files, filepath.Join(i.Dir, log.name))
				}
			}
		}
		if len(files) == 0 {
			continue // of a host that is away, too
		}
		some, err := r.saveLogs(ctx, r.hosts[h.Name], dir, list, files)
		saved = append(saved, some...)
		if err != nil {
			err = fmt.Errorf("save logs of %s: %w", h.Name, err)
		}
		if err != nil && !errors.Is(err, host.ErrUnreachable) {
			return saved, err
		}
		away = append(away, err)
	}
	return saved, errors.Join(away...)
}

// logsScript prints the ends of files: of each how many bytes follow, at most $1, and these. A file may grow meanwhile.
const logsScript = `limit=$1
shift
for file; do
	size=$(stat -Lc %s -- "$file" 2>/dev/null) || size=0
	n=$((size < limit ? size : limit))
	echo "$n"
	[ "$n" = 0 ] || tail -c +$((size - n + 1)) -- "$file" | head -c "$n"
done`

func (r *Running) saveLogs(ctx context.Context, at host.Host, dir string, list []Artifact, files []string) (saved []Artifact, err error) {
	out, in := io.Pipe()
	var group errgroup.Group
	group.Go(func() error {
		argv := append([]string{"sh", "-c", logsScript, "sh", fmt.Sprint(maxLogBytes)}, files...)
		err := at.Pipe(ctx, host.Command{Argv: argv}, nil, in)
		in.CloseWithError(err)
		return err
	})
	reader := bufio.NewReader(out)
	for _, a := range list {
		if a.SizeBytes, err = r.saveLog(filepath.Join(dir, a.Path), reader); err != nil {
			break
		}
		if a.SizeBytes > 0 {
			saved = append(saved, a)
		}
	}
	out.CloseWithError(err)
	if pipeErr := group.Wait(); err == nil || errors.Is(pipeErr, host.ErrUnreachable) {
		err = pipeErr
	}
	return saved, err
}

// saveLog writes the next file that logsScript prints.
func (r *Running) saveLog(to string, from *bufio.Reader) (sizeBytes int64, err error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || n == 0 {
		return 0, err
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(from, text); err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	written, err := io.WriteString(f, redact.Known(string(text), r.secrets.list()...))
	return int64(written), errors.Join(err, f.Close())
}
