package tune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// iniSlot is a file of "key = value" lines, in a [section] or without. All else in the file stays byte for byte.
type iniSlot struct {
	host host.Host
	path string
	ini  engine.Ini
	on   Layer // "" is FileLayer
}

func (s iniSlot) layer() Layer {
	if s.on != "" {
		return s.on
	}
	return FileLayer
}

func (s iniSlot) file() string { return s.path }

func (s iniSlot) read(ctx context.Context, key string) (engine.Value, error) {
	text, err := getText(ctx, s.host, s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return engine.Value{Absent: true}, nil
	}
	if err != nil {
		return engine.Value{}, err
	}
	return s.ini.Value(text, key), nil
}

func (s iniSlot) write(ctx context.Context, key string, v engine.Value) error {
	return s.writeAll(ctx, []assignment{{key: key, to: v}})
}

// writeAll implements many.
func (s iniSlot) writeAll(ctx context.Context, list []assignment) error {
	text, err := getText(ctx, s.host, s.path)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err != nil && !isNew {
		return err
	}
	if isNew {
		text = engine.IniWritten + "\n"
	}
	for _, a := range list {
		text = s.ini.Edit(text, a.key, a.to)
	}
	switch {
	case text != engine.IniWritten+"\n":
		err = putText(ctx, s.host, s.path, text)
	case !isNew:
		err = s.host.Remove(ctx, s.path)
	default:
		err = nil
	}
	if err != nil {
		return err
	}
	text, err = getText(ctx, s.host, s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for i := range list {
		list[i].got = s.ini.Value(text, list[i].key)
	}
	return nil
}

func getText(ctx context.Context, h host.Host, path string) (string, error) {
	text, err := h.Get(ctx, path)
	return string(text), err
}

// putText replaces a file, behind a link where it is one, and keeps its mode. A directory for it is made, as of a unit's drop-ins.
func putText(ctx context.Context, h host.Host, path, text string) error {
	mode := fs.FileMode(0o644)
	out, err := host.Output(ctx, h, "sh", "-c", `mkdir -p -- "$(dirname -- "$1")" && f=$(readlink -f -- "$1") && printf '%s\n' "$f" && { [ ! -e "$f" ] || stat -c %a -- "$f"; }`, "sh", path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	real, modeText, _ := strings.Cut(strings.TrimSuffix(out, "\n"), "\n")
	if m, err := strconv.ParseUint(strings.TrimSpace(modeText), 8, 12); err == nil {
		mode = fs.FileMode(m & 0o777)
	}
	if err := h.Put(ctx, real, []byte(text), mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = host.Output(ctx, h, "sync", real)
	return err
}
