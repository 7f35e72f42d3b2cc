package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/proc"
)

// Stopped is a process that was paused, or a systemd unit that was stopped, to be started again.
type Stopped struct {
	Unit string `json:"unit,omitempty"`
	PID  int    `json:"pid,omitempty"`
	Name string `json:"name,omitempty"` // of the process
	// Start is when the process began, as the kernel tells it: another process may get its id.
	Start string    `json:"start,omitempty"`
	At    time.Time `json:"at"`
	// Gone means that it exited meanwhile, as StartAll finds.
	Gone bool `json:"gone,omitempty"`
}

func (s Stopped) String() string {
	if s.Unit != "" {
		return s.Unit
	}
	return fmt.Sprintf("%s (pid %d)", s.Name, s.PID)
}

// Stops keeps what was stopped on a host in a file: it is on disk before anything is stopped.
type Stops struct {
	Host host.Host
	// File is on Keeper, which outlasts what is made on Host.
	Keeper host.Host
	File   string
}

// Stop pauses the process with this id, or stops the systemd unit of that name. It refuses what must not be stopped.
func (s Stops) Stop(ctx context.Context, what string, now time.Time) (Stopped, error) {
	fail := func(err error) (Stopped, error) { return Stopped{}, fmt.Errorf("stop %s: %w", what, err) }
	it := Stopped{At: now.UTC()}
	pid, err := strconv.Atoi(what)
	switch {
	case err != nil && !strings.HasSuffix(what, ".service"):
		return fail(errors.New("it is neither a process id nor a unit such as x.service"))
	case err != nil:
		it.Unit = what
	default:
		it.PID = pid
		if it.Name, it.Start, err = s.identify(ctx, pid); err != nil {
			return fail(err)
		}
		if err := mayStop(s.Host, it); err != nil {
			return fail(err)
		}
	}
	list, err := s.read(ctx)
	if err != nil {
		return fail(err)
	}
	if err := s.write(ctx, append(list, it)); err != nil {
		return fail(err)
	}
	if err := s.signal(ctx, it, "STOP", "stop"); err != nil {
		return fail(errors.Join(err, s.write(ctx, list)))
	}
	return it, nil
}

// mayStop refuses the first process, isukit itself and what it was started by: nobody would be left to start them again.
func mayStop(at host.Host, it Stopped) error {
	if it.PID <= 1 || it.Name == "systemd" || it.Name == "sshd" {
		return errors.New("the host would not be reached any more")
	}
	if !at.About().Here {
		return nil
	}
	self, err := proc.Self()
	if err != nil {
		return err
	}
	for pid := self.PID; pid > 1; {
		if pid == it.PID {
			return errors.New("isukit itself runs in it")
		}
		st, err := proc.Read(pid)
		if err != nil {
			return err
		}
		pid = st.Parent
	}
	return nil
}

// StartAll lets everything go on that was stopped, the last first, and forgets it. What ended meanwhile is marked as gone.
func (s Stops) StartAll(ctx context.Context) ([]Stopped, error) {
	list, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	var done []Stopped
	for len(list) > 0 {
		it := list[len(list)-1]
		if it.PID > 0 {
			_, start, err := s.identify(ctx, it.PID)
			it.Gone = err != nil || start != it.Start
		}
		if !it.Gone {
			if err := s.signal(ctx, it, "CONT", "start"); err != nil {
				return done, fmt.Errorf("start %s again: %w", it, err)
			}
		}
		list = list[:len(list)-1]
		if err := s.write(ctx, list); err != nil {
			return done, fmt.Errorf("start %s again: %w", it, err)
		}
		done = append(done, it)
	}
	return done, nil
}

func (s Stops) signal(ctx context.Context, it Stopped, signal, verb string) error {
	// The shell's own kill: a small container has no program of that name.
	argv := []string{"sh", "-c", `kill "-$1" "$2"`, "kill", signal, strconv.Itoa(it.PID)}
	if it.Unit != "" {
		argv = []string{"systemctl", verb, it.Unit}
	}
	res, err := s.Host.Run(ctx, host.Command{Argv: argv})
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("%s: exit status %d: %s", argv[0], res.Code, strings.TrimSpace(string(res.Stderr)))
	}
	return err
}

// identify tells a process's name and when it began.
func (s Stops) identify(ctx context.Context, pid int) (name, start string, err error) {
	res, err := s.Host.Run(ctx, host.Command{Argv: []string{"cat", fmt.Sprintf("/proc/%d/stat", pid)}})
	if err != nil {
		return "", "", err
	}
	text := string(res.Stdout)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if res.Code != 0 || open < 0 || end < open {
		return "", "", errors.New("process not found")
	}
	f := strings.Fields(text[end+1:])
	if len(f) < 20 {
		return "", "", errors.New("/proc has no start time of it")
	}
	return text[open+1 : end], f[19], nil
}

func (s Stops) read(ctx context.Context) ([]Stopped, error) {
	text, err := s.Keeper.Get(ctx, s.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Stopped
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.File, err)
	}
	return list, nil
}

func (s Stops) write(ctx context.Context, list []Stopped) error {
	if len(list) == 0 {
		return s.Keeper.Remove(ctx, s.File)
	}
	text, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return err
	}
	if err := s.Keeper.Put(ctx, s.File, append(text, '\n'), 0o600); err != nil {
		return err
	}
	res, err := s.Keeper.Run(ctx, host.Command{Argv: []string{"sync", s.File, path.Dir(s.File)}})
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("sync: exit status %d", res.Code)
	}
	return err
}
