package infra

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"isukit/infra/host"
)

// Sample is what was used up to one moment. CPU times only grow: what lies between two samples is their difference.
type Sample struct {
	At    time.Time
	Roles []RoleSample // in the order of Running.Instances
	Hosts []HostSample
}

// RoleSample is one instance, with all of its processes.
type RoleSample struct {
	Instance string // e.g. "db-1"
	Role     string
	Host     string
	host.Usage
}

// HostSample is one host as a whole.
type HostSample struct {
	Host string
	host.MachineUsage
}

// Sample reads what every instance and host has used until now. It takes a few milliseconds, or a round trip to hosts far away.
func (r *Running) Sample(ctx context.Context) (Sample, error) {
	s := Sample{At: time.Now()}
	used := map[host.Host]*host.Used{} // several hosts may be one machine
	group, gctx := errgroup.WithContext(ctx)
	for _, h := range r.spec.Topology.Hosts { // at once: hosts far away take their time to answer
		at := r.at(h.Name)
		if used[at] != nil {
			continue
		}
		u := new(host.Used)
		used[at] = u
		group.Go(func() (err error) {
			if *u, err = at.Used(gctx); err != nil {
				err = fmt.Errorf("sample %s: %w", h.Name, err)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Sample{}, err
	}
	for _, h := range r.spec.Topology.Hosts {
		s.Hosts = append(s.Hosts, HostSample{Host: h.Name, MachineUsage: used[r.at(h.Name)].MachineUsage})
	}
	for _, i := range r.Instances {
		s.Roles = append(s.Roles, RoleSample{Instance: i.Name, Role: i.Role, Host: i.Host, Usage: used[r.at(i.Host)].Services[i.Name]})
	}
	return s, nil
}

// at is what stands for a host of the topology.
func (r *Running) at(name string) host.Host {
	if h, ok := r.hosts[name]; ok {
		return h
	}
	return r.local
}

// Size tells how many CPUs and how much memory a host of the topology has.
func (r *Running) Size(hostName string) (cpus float64, memoryBytes int64) {
	m := r.input.MachineOf(hostName)
	return m.CPUs, m.MemoryBytes
}

// Collect samples at once, then at every interval, and once more when ctx ends; then it returns all samples. each is
// called with every one as it is taken; it may be nil.
func (r *Running) Collect(ctx context.Context, interval time.Duration, each func(Sample)) ([]Sample, error) {
	var samples []Sample
	take := func() error {
		s, err := r.Sample(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		samples = append(samples, s)
		if each != nil {
			each(s)
		}
		return nil
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := take(); err != nil {
			return samples, err
		}
		select {
		case <-ctx.Done():
			return samples, take()
		case <-ticker.C:
		}
	}
}

// PIDs are the living processes of every instance, by name of instance.
func (r *Running) PIDs(ctx context.Context) (map[string][]int, error) {
	return r.pidsOfAll(ctx, r.Instances)
}

// PIDsHere is PIDs of the instances that run on this machine, whose files can be read from here. No other host is asked.
func (r *Running) PIDsHere(ctx context.Context) (map[string][]int, error) {
	return r.pidsOfAll(ctx, slices.DeleteFunc(slices.Clone(r.Instances), func(i Instance) bool { return !r.at(i.Host).About().Here }))
}

func (r *Running) pidsOfAll(ctx context.Context, instances []Instance) (map[string][]int, error) {
	list := make([][]int, len(instances))
	group, ctx := errgroup.WithContext(ctx)
	for n, i := range instances { // at once: hosts far away take their time to answer
		group.Go(func() (err error) {
			list[n], err = r.pidsOf(ctx, i)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	pids := map[string][]int{}
	for n, i := range instances {
		if list[n] != nil {
			pids[i.Name] = list[n]
		}
	}
	return pids, nil
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
// kept, and should a secret of the run have got into one, it is replaced.
func (r *Running) SaveLogs(ctx context.Context, dir string) ([]Artifact, error) {
	var saved []Artifact
	for _, i := range r.Instances {
		for _, log := range logs {
			if err := ctx.Err(); err != nil {
				return saved, fmt.Errorf("save logs: %w", err)
			}
			a := Artifact{Path: filepath.Join(i.Name, log.name), About: log.about}
			var err error
			a.SizeBytes, err = r.saveLog(ctx, filepath.Join(dir, a.Path), i, log.name)
			if err != nil {
				return saved, fmt.Errorf("save logs of %s: %w", i.Name, err)
			}
			if a.SizeBytes > 0 {
				saved = append(saved, a)
			}
		}
	}
	return saved, nil
}

func (r *Running) saveLog(ctx context.Context, to string, i Instance, name string) (sizeBytes int64, err error) {
	text, err := r.tailOn(ctx, i, name, maxLogBytes)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(text) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	n, err := io.WriteString(f, r.redact(string(text)))
	return int64(n), errors.Join(err, f.Close())
}

// tailOn is the end of an instance's log. The error is fs.ErrNotExist where there is none.
func (r *Running) tailOn(ctx context.Context, i Instance, name string, limit int64) ([]byte, error) {
	file := filepath.Join(i.Dir, name)
	h, far := r.at(i.Host).(host.Piper)
	if !far {
		return readTail(file, limit)
	}
	var out bytes.Buffer
	err := h.Pipe(ctx, host.Command{Argv: []string{"sh", "-c", `[ ! -e "$0" ] || exec tail -c "$1" "$0"`, file, fmt.Sprint(limit)}}, nil, &out)
	if err == nil && out.Len() == 0 {
		err = os.ErrNotExist
	}
	return out.Bytes(), err
}

func readTail(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > limit {
		if _, err := f.Seek(-limit, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
