package tune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// tmpfilesSlot is a file of tmpfiles.d(5), whose lines a boot writes to files of the kernel that sysctl.d does not know, those of
// /sys: "w /sys/FILE - - - - VALUE".
type tmpfilesSlot struct {
	host host.Host
	path string
}

func (tmpfilesSlot) layer() Layer { return FileLayer }

func (s tmpfilesSlot) file() string { return s.path }

// lines are those of the file, without their ends; none where there is no file.
func (s tmpfilesSlot) lines(ctx context.Context) ([]string, error) {
	text, err := getText(ctx, s.host, s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n"), err
}

// tmpfilesValue is what a line writes to a key's file.
func tmpfilesValue(line, key string) (value string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 7 || strings.TrimRight(f[0], "!+-") != "w" || f[1] != key {
		return "", false
	}
	return strings.Join(f[6:], " "), true
}

func (s tmpfilesSlot) read(ctx context.Context, key string) (engine.Value, error) {
	lines, err := s.lines(ctx)
	v := engine.Value{Absent: true}
	for _, line := range lines {
		if value, ok := tmpfilesValue(line, key); ok {
			v = engine.Value{Text: value}
		}
	}
	return v, err
}

func (s tmpfilesSlot) write(ctx context.Context, key string, v engine.Value) error {
	lines, err := s.lines(ctx)
	if err != nil {
		return err
	}
	var kept []string
	for _, line := range lines {
		if _, ok := tmpfilesValue(line, key); !ok && line != engine.IniWritten {
			kept = append(kept, line)
		}
	}
	if !v.Absent {
		kept = append(kept, fmt.Sprintf("w %s - - - - %s", key, v.Text))
	}
	if len(kept) == 0 {
		return s.host.Remove(ctx, s.path)
	}
	return putText(ctx, s.host, s.path, strings.Join(append([]string{engine.IniWritten}, kept...), "\n")+"\n")
}
