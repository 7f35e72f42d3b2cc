package observe

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/project"
	"isukit/infra/redact"
	"isukit/input"
)

// Hosts are where a project is. Here is the machine that isukit runs on, Dir the project's directory there.
type Hosts struct {
	Here host.Host
	Dir  string
	// Named are the project's hosts; one that cannot be reached is missing.
	Named map[string]host.Host
}

// Step runs one step on each of its hosts, one after another, and ends at the first failure.
func (h Hosts) Step(ctx context.Context, s project.Step) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout.Or(project.DefaultStepTimeout))
	defer cancel()
	if len(s.Where()) == 0 {
		return h.run(ctx, h.Here, "here", s.Run, h.Dir)
	}
	for _, name := range s.Where() {
		at, ok := h.Named[name]
		if !ok {
			return fmt.Errorf("host %s is unreachable", name)
		}
		var err error
		if s.Copy != "" {
			err = h.copy(ctx, at, s)
		} else {
			err = h.run(ctx, at, name, s.Run, "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h Hosts) run(ctx context.Context, at host.Host, name, line, dir string) error {
	res, err := at.Run(ctx, host.Command{Argv: []string{"sh", "-c", line}, Dir: dir})
	shown := redact.Text(line)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %s: it did not end in time", name, shown)
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", name, shown, err)
	}
	if res.Code != 0 {
		return fmt.Errorf("%s: %s: exit status %d: %s", name, shown, res.Code, redact.Text(lastLines(append(res.Stdout, res.Stderr...), 5)))
	}
	return nil
}

func (h Hosts) copy(ctx context.Context, at host.Host, s project.Step) error {
	from := s.Copy
	if !filepath.IsAbs(from) {
		from = filepath.Join(h.Dir, from)
	}
	f, err := input.Open(from)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	data, err := input.ReadFrom(f, from, host.MaxFileBytes)
	if err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return at.Put(ctx, s.To, data, st.Mode().Perm())
}

func lastLines(output []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	text := strings.Join(lines[max(0, len(lines)-n):], " | ")
	if len(text) > 1000 {
		text = strings.ToValidUTF8(text[len(text)-1000:], "")
	}
	return text
}

// shell runs a line and returns what it printed; one that fails is an error with the end of its output.
func shell(ctx context.Context, at host.Host, timeout time.Duration, line string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	res, err := at.Run(ctx, host.Command{Argv: append([]string{"sh", "-c", line, "sh"}, args...)})
	if err != nil {
		return "", err
	}
	if res.Code != 0 {
		return string(res.Stdout), fmt.Errorf("exit status %d: %s", res.Code, redact.Text(lastLines(append(res.Stdout, res.Stderr...), 3)))
	}
	return string(res.Stdout), nil
}

// ClockAhead is by how much the host's clock is ahead of this machine's: the best of three askings.
func ClockAhead(ctx context.Context, at host.Host) (time.Duration, error) {
	if at.About().Here {
		return 0, nil // what a busy machine takes to answer itself would be taken for a difference
	}
	var ahead, best time.Duration = 0, time.Hour
	for range 3 {
		began := time.Now()
		text, err := shell(ctx, at, 10*time.Second, "date +%s.%N")
		took := time.Since(began)
		if err != nil {
			return 0, fmt.Errorf("read the clock: %w", err)
		}
		var seconds, nanos int64
		if _, err := fmt.Sscanf(strings.TrimSpace(text), "%d.%d", &seconds, &nanos); err != nil {
			return 0, fmt.Errorf("read the clock: %q", text)
		}
		if took < best {
			best, ahead = took, time.Unix(seconds, nanos).Sub(began.Add(took/2))
		}
	}
	return ahead, nil
}
