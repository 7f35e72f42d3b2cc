package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// AsRoot runs the script of $0 as root where that can be had without a question: others' open files are root's to see.
const AsRoot = `if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then exec sudo -n sh -c "$0" sh "$@"; fi; exec sh -c "$0" sh "$@"`

// Output runs a command on a host and returns what it printed; an exit status other than 0 is an error with the last line of its complaint.
func Output(ctx context.Context, h Host, argv ...string) (string, error) {
	return output(ctx, h, Command{Argv: argv}, 1)
}

// Must is Output for a command with input or a place, and an error with the end of its complaint.
func Must(ctx context.Context, h Host, cmd Command) (string, error) { return output(ctx, h, cmd, 15) }

func output(ctx context.Context, h Host, cmd Command, lines int) (string, error) {
	res, err := h.Run(ctx, cmd)
	if err != nil {
		return "", err
	}
	if res.Code != 0 {
		said := Tail(res.Stderr, lines)
		if said == "" {
			said = Tail(res.Stdout, lines)
		}
		err = fmt.Errorf("%s: exit status %d: %s", path.Base(cmd.Argv[0]), res.Code, said)
	}
	return string(res.Stdout), err
}

// Tail is the last lines of a program's output.
func Tail(text []byte, lines int) string {
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Limited keeps the first Limit bytes that are written to it, and drops the others.
type Limited struct {
	Data  []byte
	Limit int
}

// Write implements io.Writer; it never fails.
func (l *Limited) Write(p []byte) (int, error) {
	if free := l.Limit - len(l.Data); free > 0 {
		l.Data = append(l.Data, p[:min(free, len(p))]...)
	}
	return len(p), nil
}

// Dialer is another host that makes connections, to reach servers that listen only for the hosts: they see it come from the host.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Rebooter is a host that is a machine of its own. Reboot returns when it has booted again and answers, or when ctx ends.
type Rebooter interface {
	Reboot(ctx context.Context) error
}

// Unitary is a host whose services are units of systemd.
type Unitary interface {
	// DropIn is a file of more settings for a service, which its next start reads, its boot's, too, and which goes when it is forgotten.
	DropIn(service string) string
	// RestartOp starts a service again, as it was started.
	RestartOp(service string) Op
}

// Carry runs a command on one host with the output of another command, on another host, as its input: through here.
func Carry(ctx context.Context, from Host, out Command, to Host, in Command) error {
	r, w := io.Pipe()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		err := from.Pipe(ctx, out, nil, w)
		w.CloseWithError(err)
		if err != nil {
			err = fmt.Errorf("host %s: %w", from.About().Name, err)
		}
		return err
	})
	group.Go(func() error {
		err := to.Pipe(ctx, in, r, io.Discard)
		r.CloseWithError(err)
		if err != nil {
			err = fmt.Errorf("host %s: %w", to.About().Name, err)
		}
		return err
	})
	return group.Wait()
}

type announcing struct{}

// Announced has say get a line for each thing that a function waits for with this context.
func Announced(ctx context.Context, say func(text string)) context.Context {
	return context.WithValue(ctx, announcing{}, say)
}

// Announce reports that the caller waits for something, to Announced's function.
func Announce(ctx context.Context, text string) {
	if say, ok := ctx.Value(announcing{}).(func(string)); ok {
		say(text)
	}
}

// Until tries again, after a pause, until that succeeds. Within a limit it must; the error is that of the last try then.
func Until(ctx context.Context, limit, pause time.Duration, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil { // what the end of the context causes says nothing
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		case <-time.After(pause):
		}
	}
}

// Find is the first of a list for which is holds; nil for none.
func Find[T any](list []T, is func(*T) bool) *T {
	for i := range list {
		if is(&list[i]) {
			return &list[i]
		}
	}
	return nil
}

// ReadRecord reads what is known on a host, as JSON of a format; nil is for a file that is not there.
func ReadRecord[T any](ctx context.Context, h Host, file string, format int) (*T, error) {
	text, err := h.Get(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var is struct {
		Format int `json:"format"`
	}
	record := new(T)
	if err == nil {
		err = errors.Join(json.Unmarshal(text, &is), json.Unmarshal(text, record))
	}
	if err == nil && is.Format != format {
		err = fmt.Errorf("it has format %d; this isukit knows %d", is.Format, format)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of host %s: %w", path.Base(file), h.About().Name, err)
	}
	return record, nil
}

// WriteRecord writes it to disk, readable only for those who may act there.
func WriteRecord(ctx context.Context, h Host, file string, record any) error {
	text, err := json.MarshalIndent(record, "", " ")
	if err == nil {
		err = h.Put(ctx, file, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write %s of host %s: %w", path.Base(file), h.About().Name, err)
	}
	return nil
}
