package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// Driver makes hosts real. It records on disk what it makes before it makes it, so that another process that opens the same state directory
// later, after a crash too, finds and removes it. Methods may be called from several goroutines.
type Driver interface {
	// Name is "local", "lab", "ssh" or "memory".
	Name() string
	// Ensure makes the hosts exist as they are wanted, with what joins them. What is so already is not touched: its services
	// run on. A host that differs is changed in place where that can be done (CPUs, memory, link speed). Hosts that are not
	// named are left to Remove. When it fails, the hosts that it made new in this call are gone again.
	Ensure(ctx context.Context, hosts []Want) error
	// Hosts are those that exist, by name, with what was last wanted of them.
	Hosts(ctx context.Context) ([]Want, error)
	// Host returns one that exists; the error is ErrUnknownHost for any other name.
	Host(name string) (Host, error)
	// Remove ends all services on these hosts and removes what the driver has put there, unless unknown. What stays is recorded.
	Remove(ctx context.Context, names ...string) error
	// Down removes every host and what joins them.
	Down(ctx context.Context) error
	// Lock takes the whole set of hosts for one user, until release is called or this process ends, however it ends. Where
	// another has it, the error is a *LockedError. holder is a name that tells others whom to ask.
	Lock(ctx context.Context, holder string) (release func() error, err error)
	// Dial connects from where the load generator stands: in the lab a network namespace of its own.
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// Close releases what this process holds. Kept hosts stay up; others (see the driver's options) are taken down.
	Close(ctx context.Context) error
}

// PartLocker is a Driver that can do without hosts that are unreachable.
type PartLocker interface {
	// LockPartly is Lock of the hosts that can be reached; away is why others cannot. These are not asked until release is called.
	LockPartly(ctx context.Context, holder string) (release func() error, away, err error)
}

// Want is a host as a topology declares it.
type Want struct {
	Name string `json:"name"` // letters, digits, '-' and '_'; at most MaxName of them
	// CPUs is how many it may use, a fraction as well; 0 is all that there are. Only the lab makes it so.
	CPUs float64 `json:"cpus,omitempty"`
	// MemoryBytes is how much it may use; 0 is all that there is. Only the lab makes it so.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// Address is where ssh finds it (an alias, user@name, an IP address), or its address in the lab. "" leaves the choice to the driver.
	Address string `json:"address,omitempty"`
	// LinkBitsPerSecond is the speed of its network link, each way; 0 is as fast as it goes. Only the lab makes it so.
	LinkBitsPerSecond int64 `json:"link_bits_per_second,omitempty"`
	// Flaws are what its link does to frames. A driver other than the lab refuses them.
	Flaws Flaws `json:"flaws,omitzero"`
}

// MaxName is the longest name of a host: it becomes a part of network devices and of paths of Unix sockets.
const MaxName = 12

// Check returns all errors of the values together, or nil.
func (w Want) Check() error {
	var errs []error
	if w.Name == "" || len(w.Name) > MaxName || strings.Trim(w.Name, nameLetters) != "" || strings.HasPrefix(w.Name, "-") {
		errs = append(errs, fmt.Errorf("host name %q: want 1 to %d letters, digits, '-' and '_', not '-' at first", w.Name, MaxName))
	}
	if w.CPUs < 0 || w.MemoryBytes < 0 || w.LinkBitsPerSecond < 0 {
		errs = append(errs, fmt.Errorf("host %s: CPUs %g, memory %d, link speed %d: none may be below 0", w.Name, w.CPUs, w.MemoryBytes, w.LinkBitsPerSecond))
	}
	if err := w.Flaws.Check(); err != nil {
		errs = append(errs, fmt.Errorf("host %s: link: %w", w.Name, err))
	}
	return errors.Join(errs...)
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// CheckWants checks every host, that no name is there twice, and that this driver can make the links.
func CheckWants(driver string, hosts []Want) error {
	var errs []error
	seen := map[string]bool{}
	for _, w := range hosts {
		errs = append(errs, w.Check())
		if seen[w.Name] {
			errs = append(errs, fmt.Errorf("host %s is there twice", w.Name))
		}
		if driver != "lab" && w.Flaws != (Flaws{}) {
			errs = append(errs, &Fault{Host: w.Name, Err: fmt.Errorf("%w with the driver %s: a link with %s", ErrUnsupported, driver, w.Flaws),
				Hint: "use --driver lab, or leave the link only its rate in the topology file"})
		}
		seen[w.Name] = true
	}
	return errors.Join(errs...)
}

// About is what a host is.
type About struct {
	Name   string
	Driver string
	// Address is the IP address on which its services listen for other hosts and for the load generator.
	Address string
	// CPUs is how much CPU time its control group may use, in CPUs. Threads is on how many CPUs it may run at the same time (nproc).
	CPUs    float64
	Threads int
	// MemoryBytes is how much memory it may use: the limit of its control group where there is one, not of the machine.
	MemoryBytes int64
	// Dir is for isukit's files on the host. Remove takes it away.
	Dir string
	// Root tells whether commands and services can be run as root.
	Root bool
	// Kernel tells whose kernel settings those of the host are.
	Kernel Kernel
	// Arch is the architecture of another machine as Go calls it ("arm64"); "" for this one, and where it is not known.
	Arch string
	// Here tells that the host runs on this machine: its process ids and files can be read from here.
	Here bool
}

// Kernel tells whose kernel settings a host has.
type Kernel string

// The kernels. Setting a value of one affects all hosts that share it.
const (
	OwnKernel       Kernel = "own"       // the host has one for itself
	SharedKernel    Kernel = "shared"    // that of the machine isukit runs on
	NamespaceKernel Kernel = "namespace" // a network namespace: net.* that is kept per namespace is its own, all else is the machine's and cannot be written
)

// What drivers say about hosts that cannot be used. They are wrapped in a Fault.
var (
	ErrUnknownHost = errors.New("unknown host")
	ErrUnreachable = errors.New("host unreachable")
	ErrHostKey     = errors.New("host key not trusted")
	ErrLogin       = errors.New("login refused")
	ErrSudo        = errors.New("no root")
	ErrDiskFull    = errors.New("disk full")
	ErrUnsupported = errors.New("not possible on this machine")
)

// Fault is what keeps a host from being used, and what can be done about it; Host may be "".
type Fault struct {
	Host string
	Err  error
	Hint string
}

func (f *Fault) Error() string {
	if f.Host == "" {
		return f.Err.Error()
	}
	return fmt.Sprintf("host %s: %v", f.Host, f.Err)
}

// Unwrap returns the error without host and hint.
func (f *Fault) Unwrap() error { return f.Err }

// Hinted adds to an error what can be done about it.
func Hinted(err error, hint string) error { return &Fault{Err: err, Hint: hint} }

// Holder is who has a set of hosts.
type Holder struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
	PID   int       `json:"pid"` // on the machine where its isukit runs
	Where string    `json:"where,omitempty"`
	// Start is when that process began, in clock ticks of its machine, and Origin the boot of that machine and the namespace of the pid: who
	// is there can see that it has ended. They are 0 and "" where that is not known.
	Start  uint64 `json:"start,omitempty"`
	Origin string `json:"origin,omitempty"`
}

// LockedError: another user has locked the hosts.
type LockedError struct {
	Driver string
	Host   string // the first one that is taken; "" where it is all of them
	Holder Holder
	End    string // the command that ends the lock; "" where it ends with the holder only
}

func (e *LockedError) Error() string {
	what := "the hosts of driver " + e.Driver + " are"
	if e.Host != "" {
		what = "host " + e.Host + " is"
	}
	by := e.Holder.Name
	if e.Holder.Where != "" {
		by += " on " + e.Holder.Where
	}
	return fmt.Sprintf("%s taken by %s since %s (pid %d)", what, by, e.Holder.Since.Format("15:04:05 on 2 January"), e.Holder.PID)
}

// limited sets the limit of open files, soft and hard, and becomes the program. It is given the number first.
const limited = `ulimit -n "$0" || exit 126; exec "$@"`

// Command starts the service's program with its limit and account, as one process that becomes the program, on this machine.
func (s Service) Command() ([]string, error) {
	if len(s.Argv) == 0 {
		return nil, fmt.Errorf("start %s: no program", s.Name)
	}
	argv := s.Argv
	if s.User != "" {
		me, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", s.Name, err)
		}
		if me.Username != s.User && os.Geteuid() != 0 {
			return nil, fmt.Errorf("start %s as %s: %w", s.Name, s.User, errors.New("only root may start it under another account"))
		}
		if me.Username != s.User {
			argv = append([]string{"setpriv", "--reuid", s.User, "--regid", s.User, "--init-groups", "--"}, argv...)
		}
	}
	if s.NoFile > 0 {
		argv = append([]string{"sh", "-c", limited, strconv.Itoa(s.NoFile)}, argv...)
	}
	return argv, nil
}
