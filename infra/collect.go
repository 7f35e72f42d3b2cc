package infra

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"isukit/infra/host"
	"isukit/infra/redact"
)

// at is what stands for a host of the topology.
func (r *Running) at(name string) host.Host {
	return r.hosts[name]
}

// Size tells how many CPUs and how much memory a host of the topology has.
func (r *Running) Size(hostName string) (cpus float64, memoryBytes int64) {
	m := r.input.MachineOf(hostName)
	return m.CPUs, m.MemoryBytes
}

func (r *Running) pidsOf(ctx context.Context, i Instance) ([]int, error) {
	at := r.at(i.Host)
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

// maxLogBytes is how much of the end of each log SaveLogs keeps.
const maxLogBytes = 64 << 20

// logs are the files that SaveLogs keeps, with what they are. Only these: others may hold secrets.
var logs = []struct{ name, about string }{
	{accessLog, "requests, as the proxy logged them"},
	{errorLog, "errors and warnings"},
	{slowLog, "slow queries"},
	{outputLog, "what the program printed"},
}

// SaveLogs copies the logs of every instance into dir, which is made. Empty logs are left out, of large ones the end is
// kept, and should a secret of the run have got into one, it is replaced. What a host has that is away is in the error, which is
// host.ErrUnreachable; the rest is saved.
func (r *Running) SaveLogs(ctx context.Context, dir string) ([]Artifact, error) {
	var saved []Artifact
	away := map[string]error{}
	for _, i := range r.Instances {
		for _, log := range logs {
			if away[i.Host] != nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return saved, fmt.Errorf("save logs: %w", err)
			}
			a := Artifact{Path: filepath.Join(i.Name, log.name), About: log.about}
			var err error
			a.SizeBytes, err = r.saveLog(ctx, filepath.Join(dir, a.Path), i, log.name)
			if errors.Is(err, host.ErrUnreachable) {
				away[i.Host] = fmt.Errorf("save logs of %s: %w", i.Name, err)
				continue
			}
			if err != nil {
				return saved, fmt.Errorf("save logs of %s: %w", i.Name, err)
			}
			if a.SizeBytes > 0 {
				saved = append(saved, a)
			}
		}
	}
	return saved, errors.Join(slices.Collect(maps.Values(away))...)
}

func (r *Running) saveLog(ctx context.Context, to string, i Instance, name string) (sizeBytes int64, err error) {
	var text bytes.Buffer
	last := []string{"sh", "-c", `[ ! -e "$0" ] || exec tail -c "$1" "$0"`, filepath.Join(i.Dir, name), fmt.Sprint(maxLogBytes)}
	if err := r.at(i.Host).Pipe(ctx, host.Command{Argv: last}, nil, &text); err != nil || text.Len() == 0 {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	n, err := io.WriteString(f, redact.Known(text.String(), r.secrets.list()...))
	return int64(n), errors.Join(err, f.Close())
}
