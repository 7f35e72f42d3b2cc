package doctor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// FileWatch keeps the peak of open files of this machine's processes. Its methods may be called from several goroutines.
type FileWatch struct {
	mu     sync.Mutex
	peaks  map[int]Process
	warned map[int]bool
}

// Take looks at processes of instances, by name, and returns what is to be said about those that come near to their limit for
// the first time. A process that is gone, or whose files this user may not see, is left out.
func (w *FileWatch) Take(pids map[string][]int) []Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.peaks == nil {
		w.peaks, w.warned = map[int]Process{}, map[int]bool{}
	}
	var near []Process
	for role, list := range pids {
		for _, pid := range list {
			p, err := readFiles(pid)
			if err != nil {
				continue
			}
			p.Role = role
			if p.OpenFiles > w.peaks[pid].OpenFiles {
				w.peaks[pid] = p
			}
			if NearLimit(p.OpenFiles, p.SoftLimit) && !w.warned[pid] {
				w.warned[pid] = true
				near = append(near, p)
			}
		}
	}
	return filesOf(near)
}

// Findings are what the peaks until now say.
func (w *FileWatch) Findings() []Finding {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Process
	for _, p := range w.peaks {
		all = append(all, p)
	}
	return filesOf(all)
}

func filesOf(list []Process) []Finding {
	slices.SortFunc(list, func(a, b Process) int { return a.PID - b.PID })
	checks, err := Select(Checks(), []string{"file-limits"}, nil)
	if err != nil {
		return nil // the check is there
	}
	return Diagnose(&Observed{Hosts: []Host{{Processes: list}}}, checks)
}

// readFiles reads how many files a process of this machine has open, and may have.
func readFiles(pid int) (Process, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	open, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return Process{}, err
	}
	limits, err := os.ReadFile(filepath.Join(dir, "limits"))
	if err != nil {
		return Process{}, err
	}
	name, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		return Process{}, err
	}
	p := Process{PID: pid, Name: string(bytes.TrimSpace(name)), OpenFiles: int64(len(open))}
	for line := range bytes.Lines(limits) {
		if rest, ok := bytes.CutPrefix(line, []byte("Max open files")); ok {
			if f := bytes.Fields(rest); len(f) >= 2 {
				p.SoftLimit, p.HardLimit = number(string(f[0])), number(string(f[1]))
			}
			return p, nil
		}
	}
	return Process{}, fmt.Errorf("read the limits of process %d: there is none for open files", pid)
}
