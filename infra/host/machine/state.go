package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"isukit/infra/host"
	"isukit/infra/host/proc"
)

const (
	stateFile = "state.json"
	stateLock = "state.lock" // held while state.json is read and rewritten
)

type state struct {
	Driver string `json:"driver"`
	ID     string `json:"id"` // in the names of control groups
	// Boot is the start of the machine in which it was made: no process, namespace or control group outlives it.
	Boot string `json:"boot"`
	// Controllers are those that were made available for the lab, until it is removed.
	Controllers []string     `json:"controllers,omitempty"`
	Fixtures    []holder     `json:"fixtures,omitempty"` // the lab's switch and generator
	System      *System      `json:"system,omitempty"`   // what its hosts boot, if they do
	Hosts       []hostRecord `json:"hosts"`
}

type holder struct {
	Name string  `json:"name"`
	ID   proc.ID `json:"process"`
}

type hostRecord struct {
	Want    host.Want `json:"want"`
	Address string    `json:"address"`
	Has     string    `json:"has,omitempty"` // the address that its device has, in the lab
	CPUs    float64   `json:"cpus"`          // that it has: scaled
	On      []int     `json:"on,omitempty"`
	// Maker is the isukit that makes or removes the host; zero when the host is whole.
	Maker    proc.ID         `json:"maker,omitzero"`
	Holder   proc.ID         `json:"holder,omitzero"`
	Shaped   bool            `json:"shaped,omitempty"`   // its link has a speed of its own
	Fault    *Fault          `json:"fault,omitempty"`    // the last one of its link
	Link     proc.ID         `json:"link,omitzero"`      // what carries the frames of its link, if anything does
	Carries  string          `json:"carries,omitempty"`  // how
	Services []serviceRecord `json:"services,omitempty"` // in the order of their start
}

type serviceRecord struct {
	host.Service
	ID    proc.ID   `json:"process"`
	Since time.Time `json:"since"`
}

func (s *state) host(name string) *hostRecord {
	return host.Find(s.Hosts, func(h *hostRecord) bool { return h.Want.Name == name })
}

func (s *state) fixture(name string) *holder {
	return host.Find(s.Fixtures, func(f *holder) bool { return f.Name == name })
}

func (h *hostRecord) service(name string) *serviceRecord {
	return host.Find(h.Services, func(s *serviceRecord) bool { return s.Name == name })
}

func (h *hostRecord) forget(name string) {
	h.Services = slices.DeleteFunc(h.Services, func(s serviceRecord) bool { return s.Name == name })
}

// errBroken: a record is incomplete.
var errBroken = errors.New("read the record of hosts")

type store struct{ dir string }

// read returns the record. After a restart of the machine, its hosts are not made and its services do not run.
func (st store) read() (state, error) {
	var s state
	text, err := os.ReadFile(filepath.Join(st.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read the record of hosts: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, &host.Fault{
			Err:  fmt.Errorf("%w %s: %w", errBroken, filepath.Join(st.dir, stateFile), err),
			Hint: "end what there is of them, and forget the record: isukit topology down --driver " + filepath.Base(st.dir),
		}
	}
	if s.Boot != proc.Boot() {
		s.afterRestart()
	}
	return s, nil
}

func (s *state) afterRestart() {
	s.Boot, s.Fixtures, s.Controllers = proc.Boot(), nil, nil
	for i := range s.Hosts {
		h := &s.Hosts[i]
		h.Holder, h.Link, h.Carries, h.Fault = proc.ID{}, proc.ID{}, "", nil
		if s.Driver == labName {
			h.Maker = proc.ID{PID: -1} // nobody: the host is to be made again
		}
		for n := range h.Services {
			h.Services[n].ID = proc.ID{PID: -1}
		}
	}
}

// update changes what is on record; it is on disk when update returns.
func (st store) update(change func(*state) error) error {
	lock, err := proc.Lock(filepath.Join(st.dir, stateLock))
	if err != nil {
		return fmt.Errorf("record hosts: %w", err)
	}
	defer lock.Close()
	s, err := st.read()
	if err != nil {
		return err
	}
	if err := change(&s); err != nil {
		return err
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("record hosts: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(st.dir, stateFile), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("record hosts: %w", err)
	}
	return syncDir(st.dir)
}

func (st store) onHost(name string, change func(*hostRecord) error) error {
	return st.update(func(s *state) error {
		h := s.host(name)
		if h == nil {
			return fmt.Errorf("%w: %s", host.ErrUnknownHost, name)
		}
		return change(h)
	})
}

// syncDir makes the names of a directory durable: that of a file that was made, renamed or removed in it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
