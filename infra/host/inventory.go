package host

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"isukit/infra/host/proc"
)

// The files of a run directory that are Local's own.
const (
	lockName      = "lock"
	inventoryName = "inventory"
)

// record is one line of an inventory: a process that was made.
type record struct {
	Boot string `json:"boot"`
	Name string `json:"name"` // of the service or command
	proc.ID
}

// inventory is a file to which records are appended; each is on disk when add returns.
type inventory struct {
	mu   sync.Mutex
	file *os.File
}

func createInventory(dir string) (*inventory, error) {
	f, err := os.OpenFile(filepath.Join(dir, inventoryName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := SyncDir(dir); err != nil {
		f.Close()
		return nil, err
	}
	return &inventory{file: f}, nil
}

// SyncDir makes the names of a directory durable: that of a file that was made, renamed or removed in it.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (inv *inventory) add(r record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if _, err := inv.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	if err := inv.file.Sync(); err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	return nil
}

func (inv *inventory) close() error { return inv.file.Close() }

// readInventory returns the records of a run directory. A last line without its end was being written when its writer
// died; the process that it is about never began.
func readInventory(dir string) ([]record, error) {
	text, err := os.ReadFile(filepath.Join(dir, inventoryName))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []record
	lines := bufio.NewScanner(bytes.NewReader(text[:bytes.LastIndexByte(text, '\n')+1]))
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read inventory of %s: line %q: %w", dir, lines.Text(), err)
		}
		list = append(list, r)
	}
	return list, lines.Err()
}
