package host

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"syscall"
	"time"
)

// MaxFileBytes is the most that Get returns.
const MaxFileBytes = 64 << 20

// MaxOutputBytes is the most that Run keeps of each output of a command; the rest is dropped.
const MaxOutputBytes = 1 << 20

// ErrTooLarge says that a file has more than MaxFileBytes.
var ErrTooLarge = errors.New("file too large")

// Host is a machine, real or emulated. Paths are absolute, and the host's own. Methods may be called from several goroutines.
type Host interface {
	// About describes the host. It does not change while the host is as its driver has made it.
	About() About
	// Run runs a command to its end. A command that failed is a Result with its Code, not an error. The end of ctx kills it.
	Run(ctx context.Context, cmd Command) (Result, error)
	// Pipe runs a command with input and output of any size. in may be nil, for the command's Stdin. An exit status other than 0 is an error.
	Pipe(ctx context.Context, cmd Command, in io.Reader, out io.Writer) error
	// Put writes a file whole, atomically, with this mode, and makes the directories above it (mode 0700).
	Put(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	// Get reads a file. The error is fs.ErrNotExist where there is none, ErrTooLarge where it is not for Get.
	Get(ctx context.Context, path string) ([]byte, error)
	// Remove removes a file, or a directory with its content, if it exists.
	Remove(ctx context.Context, path string) error
	// Start starts a service and returns when its program runs. A name that runs already is an error.
	Start(ctx context.Context, s Service) error
	// Stop ends a service: with its signal, and with SIGKILL when it still runs after patience (or when ctx ends); it returns when all of
	// its processes are gone. The service may not run any more.
	Stop(ctx context.Context, name string, patience time.Duration) error
	// State is the state of a started service, also of an earlier isukit; for any other name the error is ErrUnknownService.
	State(ctx context.Context, name string) (State, error)
	// States are those of all services, at the price of one. booted is when the host was started; zero where that is not known.
	States(ctx context.Context) (states map[string]State, booted time.Time, err error)
	// Services are the names of all that were started and not forgotten, in the order of their start.
	Services(ctx context.Context) ([]string, error)
	// Forget removes a service that does not run from State and Services. It may be unknown.
	Forget(ctx context.Context, name string) error
	// Used is what the host and each of its services have used so far.
	Used(ctx context.Context) (Used, error)
}

// ErrUnknownService says that no service of that name was started.
var ErrUnknownService = errors.New("unknown service")

// Command is a program that exits.
type Command struct {
	Argv  []string
	Env   []string // KEY=value, besides the host's own
	Dir   string   // working directory; "" is the host's choice
	Stdin []byte   // what it reads; a place for secrets, which do not belong into Argv
}

// Result is how a command ended.
type Result struct {
	Code           int // exit status; 128 + signal number where a signal ended it
	Stdout, Stderr []byte
}

// Service is a program that runs until it is stopped, in the foreground.
type Service struct {
	Name       string
	Argv       []string
	Env        []string       // KEY=value, besides the host's own
	Dir        string         // working directory; "" is the host's choice
	LogFile    string         // its output is appended here
	StopSignal syscall.Signal // asks it to end; 0 is SIGTERM
	// User is the account under which it runs; "" is the one that runs commands.
	User string
	// NoFile is how many files it may have open (soft and hard limit); 0 is what the host gives.
	NoFile int
	// After are services of the host that its boot starts before this one, where a boot starts services at all (driver ssh).
	After []string
	// Stamp is for the caller: a hash, say, of the files that the program reads when it starts. State returns the stamp with
	// which the service was started, so one that differs from what would be given now means that a restart is needed.
	Stamp string
}

// State is what a service does.
type State struct {
	Running bool
	PID     int // its first process
	Group   int // the process group of its processes
	// Since is when it was started, by a boot of the host, too.
	Since time.Time
	// Stamp is the one of the Service that was started.
	Stamp string
	// Exit is how it ended ("exit status 1", "signal: killed"); "" while it runs.
	Exit string
	// OutOfMemory tells that the kernel has killed a process of it because of the host's memory limit.
	OutOfMemory bool
}

// Used is what was used up to one moment: what lies between two of them is their difference.
type Used struct {
	MachineUsage                  // of the whole host; where it may use only a part of a CPU's time, Total is that part
	MemoryBytes  int64            // now, on the whole host
	Services     map[string]Usage // those that run
}
