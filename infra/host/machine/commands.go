package machine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"isukit/infra/host/proc"
)

const commandsPrefix = "commands-" // followed by pid and start of the isukit whose commands they are

// commandLog is where one isukit records its commands on a driver's hosts, so that they end with it; nil before its first use.
type commandLog struct {
	file *os.File
	path string
}

type commandRecord struct {
	Boot string `json:"boot"`
	Name string `json:"name"`
	proc.ID
}

func openCommandLog(dir string, self proc.ID) (*commandLog, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, fmt.Sprintf("%s%d-%d", commandsPrefix, self.PID, self.Start))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		f.Close()
		return nil, err
	}
	return &commandLog{file: f, path: path}, nil
}

// add records a process on disk. One write is one line, so several processes may add at the same time.
func (l *commandLog) add(name string, id proc.ID) error {
	line, err := json.Marshal(commandRecord{proc.Boot(), name, id})
	if err != nil {
		return err
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return err
	}
	return l.file.Sync()
}

func (l *commandLog) close() error {
	if l == nil {
		return nil
	}
	return errors.Join(l.file.Close(), removeFile(l.path))
}

// endCommands ends the commands of isukits that are dead.
func (d *Driver) endCommands(ctx context.Context, done *Cleaned) error {
	entries, err := os.ReadDir(d.ownDir(""))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		var owner proc.ID
		if n, _ := fmt.Sscanf(strings.TrimPrefix(e.Name(), commandsPrefix), "%d-%d", &owner.PID, &owner.Start); n != 2 || owner.Alive() {
			continue
		}
		ended, err := endRecorded(ctx, filepath.Join(d.ownDir(""), e.Name()), d.dir)
		if done.Ended = append(done.Ended, ended...); err != nil {
			return err
		}
	}
	return err
}

// endRecorded ends the processes that a file has on record, a line each, and removes the file.
func endRecorded(ctx context.Context, file, hosts string) (ended []Ended, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for scan := bufio.NewScanner(bytes.NewReader(text)); scan.Scan(); {
		var r commandRecord
		if json.Unmarshal(scan.Bytes(), &r) != nil || r.Boot != proc.Boot() {
			continue // cut short: the process never began
		}
		pids, err := proc.EndGroup(ctx, r.Name, r.ID, hosts)
		for _, pid := range pids {
			ended = append(ended, Ended{Name: r.Name, PID: pid})
		}
		if err != nil {
			return ended, err
		}
	}
	return ended, os.Remove(file)
}
