package ssh

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"isukit/infra/host"
)

type client struct {
	name    string // of the host
	dest    string // for ssh
	opts    Options
	control string // directory of sockets
	sudo    bool
	locked  *sync.Map // by name: hosts whose locks the driver has; nil where nothing may be done that needs root
	away    *sync.Map // by name: why hosts could not be locked
}

// connectSeconds limits a connection, and sshd's answer, which is tried greetings times: a busy host takes its time. A connection that is there is given as long without an answer: aliveSeconds, aliveCount times.
const (
	connectSeconds = 10
	greetings      = 3
	aliveSeconds   = 5
	aliveCount     = connectSeconds * greetings / aliveSeconds
)

// busy tells whether a host took a connection whose sshd did not answer.
func busy(err error) bool {
	return errors.Is(err, host.ErrUnreachable) && strings.Contains(err.Error(), "during banner exchange")
}

// newer are options that an old ssh lacks and that people's ssh_config has: without them commands do not run, or cannot be reached.
var newer = sync.OnceValue(func() []string {
	knows := func(options ...string) bool {
		return exec.Command("ssh", slices.Concat([]string{"-G", "-F", "none"}, options, []string{"localhost"})...).Run() == nil
	}
	all := []string{"-oSessionType=default", "-oStdinNull=no", "-oForkAfterAuthentication=no"}
	if knows(all...) {
		return all
	}
	return slices.DeleteFunc(all, func(option string) bool { return !knows(option) })
})

// args are the arguments of ssh up to the destination.
func (c *client) args() []string {
	args := append(slices.Clone(newer()),
		"-T", "-o", "RemoteCommand=none", "-o", "PermitLocalCommand=no", "-o", "ClearAllForwardings=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR",
		"-o", fmt.Sprintf("ConnectTimeout=%d", connectSeconds), "-o", fmt.Sprintf("ServerAliveInterval=%d", aliveSeconds), "-o", fmt.Sprintf("ServerAliveCountMax=%d", aliveCount),
		"-o", "ControlMaster=auto", "-o", "ControlPath="+c.control+"/%C", "-o", "ControlPersist=60",
	)
	if c.opts.ConfigFile != "" {
		args = append(args, "-F", c.opts.ConfigFile)
	}
	return append(args, "--", c.dest)
}

// Destination is an address as ssh takes it: USER@HOST:PORT is one only as an ssh:// address.
func Destination(address string) string {
	at, port, ok := strings.Cut(address, ":")
	if _, err := strconv.ParseUint(port, 10, 16); !ok || at == "" || err != nil {
		return strings.TrimSuffix(address, "/")
	}
	return "ssh://" + address
}

// begun is a line that a script's outputs begin with: what comes before it is the greeting of a login shell, or ssh's own.
const begun = "isukit-begins-here\n"

// allOfIt ends a script: one whose end is missing, as its sender was killed or cut off, is not run.
const allOfIt = "# isukit-ends-here"

// receive reads a script of as many bytes as the first line says, and becomes it. What follows is the script's input.
const receive = `echo isukit-begins-here; echo isukit-begins-here >&2; read -r n && script=$(head -c "$n") && case $script in *"` + allOfIt + `") eval "$script" ;; *) exit 1 ;; esac`

// toReceive is a script as receive reads it.
func toReceive(script string) string {
	script += "\n" + allOfIt
	return fmt.Sprintf("%d\n%s", len(script), script)
}

// remote is the command line for the login shell of the host's user.
func (c *client) remote() string {
	command := "exec /bin/sh -c " + quote(receive)
	if c.sudo {
		command = "exec sudo -n -- /bin/sh -c " + quote(receive)
	}
	return command
}

// command is ssh, ready to run a script. What runs under the host's lock has an ID.
func (c *client) command(ctx context.Context, script string, input []byte) *exec.Cmd {
	if c.holds() && !strings.HasPrefix(script, "work=") {
		script = fmt.Sprintf(enterScript, c.newID()) + script
	}
	cmd := exec.CommandContext(ctx, "ssh", append(c.args(), c.remote())...)
	cmd.Stdin = io.MultiReader(strings.NewReader(toReceive(script)), bytes.NewReader(input))
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// holds tells whether the driver has the host's lock.
func (c *client) holds() bool { return c.lock() != nil }

func (c *client) lock() *hostLock {
	if c.locked == nil {
		return nil
	}
	l, _ := c.locked.Load(c.name)
	lock, _ := l.(*hostLock)
	return lock
}

// script runs a script and returns how it ended. The error is a *host.Fault where the host could not be reached or used.
func (c *client) script(ctx context.Context, script string, input []byte, limit int) (res host.Result, err error) {
	if err, ok := c.away.Load(c.name); ok {
		return res, err.(error)
	}
	if lock := c.lock(); lock != nil {
		if err := lock.again(ctx); err != nil {
			return res, err
		}
	}
	for range greetings {
		if res, err = c.try(ctx, script, input, limit); !busy(err) {
			break
		}
	}
	return res, err
}

func (c *client) try(ctx context.Context, script string, input []byte, limit int) (host.Result, error) {
	out, errOut := host.Limited{Limit: limit}, host.Limited{Limit: host.MaxOutputBytes}
	cmd := c.command(ctx, script, input)
	frame := &framed{to: &out}
	cmd.Stdout, cmd.Stderr = frame, &errOut
	err := cmd.Run()
	res := host.Result{Stdout: out.Data, Stderr: own(errOut.Data)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return host.Result{}, context.Cause(ctx)
	case errors.As(err, &exit):
		res.Code = exit.ExitCode()
		if err := c.fault(res); err != nil || frame.begun {
			return res, err
		}
		return res, c.notBegun(res)
	case errors.Is(err, exec.ErrNotFound):
		return res, &host.Fault{Err: fmt.Errorf("driver ssh: %w: %w", host.ErrUnsupported, err), Hint: "install openssh-client"}
	case err == nil && !frame.begun:
		return res, c.notBegun(res)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay) && !errors.Is(err, os.ErrClosed) && !strings.Contains(err.Error(), "broken pipe"):
		return res, err
	}
	return res, nil
}

// check runs a script that must succeed.
func (c *client) check(ctx context.Context, what, script string, input []byte) (string, error) {
	res, err := c.script(ctx, script, input, host.MaxOutputBytes)
	if err == nil && res.Code != 0 {
		err = c.failure(res)
	}
	var fault *host.Fault
	if errors.As(err, &fault) && !errors.Is(err, host.ErrDiskFull) {
		return "", err // what was to be done does not matter
	}
	if err != nil {
		return "", fmt.Errorf("%s on %s: %w", what, c.name, err)
	}
	return string(res.Stdout), nil
}

// failure is the error of a script that ended with a code.
func (c *client) failure(res host.Result) error {
	text := lastLines(res.Stderr, 3)
	if strings.Contains(text, "No space left on device") || strings.Contains(text, "Disk quota exceeded") {
		return &host.Fault{Host: c.name, Err: fmt.Errorf("%w: %s", host.ErrDiskFull, text), Hint: "make room there; this shows which disk is full: ssh " + c.dest + " df -h"}
	}
	if text == "" {
		return fmt.Errorf("exit status %d", res.Code)
	}
	return fmt.Errorf("exit status %d: %s", res.Code, text)
}

// sshFailed is ssh's exit status for its own failure, and for a connection that has ended.
const sshFailed = 255

// exits255 is at the end of the errors of a command that has ended with that status itself.
const exits255 = "isukit-exits-255\n"

// causes are ssh's messages when a host cannot be used, the most important first: a refused login may follow a warning.
var causes = []struct {
	text string // a part of what it says
	err  error
	hint string // %s is the destination
}{
	{"REMOTE HOST IDENTIFICATION HAS CHANGED", host.ErrHostKey, "if the host was reinstalled, remove its old key (ssh-keygen -R ADDRESS), then log in once and compare the fingerprint: ssh %s"},
	{"Host key verification failed", host.ErrHostKey, "log in once by hand and compare the fingerprint: ssh %s"},
	{"host key is known for", host.ErrHostKey, "log in once by hand and compare the fingerprint: ssh %s"},
	{"UNPROTECTED PRIVATE KEY FILE", host.ErrLogin, "take the key file's rights from others (chmod 600), then try: ssh %s true"},
	{"Permission denied (", host.ErrLogin, "name the right user and key in ssh_config (User, IdentityFile) or load the key (ssh-add), then try: ssh -v %s true"},
	{"Too many authentication failures", host.ErrLogin, "name the key in ssh_config (IdentityFile and IdentitiesOnly yes), then try: ssh -v %s true"},
	{"Could not resolve hostname", host.ErrUnreachable, "check the address in the topology and Host in ssh_config: ssh -G %s"},
	{"", host.ErrUnreachable, "check that it runs and that this works: ssh %s true"},
}

// fault is ssh's own failure, if it was ssh that failed.
func (c *client) fault(res host.Result) error {
	text := string(res.Stderr)
	if res.Code != sshFailed && !strings.Contains(text, "sudo: ") {
		return nil
	}
	if c.sudo && res.Code == 1 && (strings.Contains(text, "sudo: a password is required") || strings.Contains(text, "is not in the sudoers file") ||
		strings.Contains(text, "sudo: a terminal is required")) {
		return c.noRoot(text)
	}
	if res.Code != sshFailed || strings.HasSuffix(text, exits255) {
		return nil
	}
	for _, cause := range causes {
		if strings.Contains(text, cause.text) {
			return &host.Fault{
				Host: c.name, Err: fmt.Errorf("%w: %s", cause.err, cmp.Or(lastLines(res.Stderr, 2), "the connection has ended")),
				Hint: fmt.Sprintf(cause.hint, c.dest),
			}
		}
	}
	return nil
}

// notBegun is the error of a login that ends before the script.
func (c *client) notBegun(res host.Result) error {
	return &host.Fault{
		Host: c.name, Err: fmt.Errorf("%w: the login shell ends, with exit status %d, before it runs what it is given: %s", host.ErrLogin, res.Code, lastLines(res.Stderr, 2)),
		Hint: "this must print yes; see the shell's start-up files: ssh " + c.dest + " echo yes",
	}
}

func (c *client) noRoot(text string) error {
	return &host.Fault{
		Host: c.name, Err: fmt.Errorf("%w: %s", host.ErrSudo, lastLines([]byte(text), 1)),
		Hint: "let the user run sudo without a password (sudo visudo -f /etc/sudoers.d/isukit: \"USER ALL=(ALL) NOPASSWD: ALL\"), or log in as root",
	}
}

func lastLines(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(text), "\r", "")), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func quoteAll(words []string) string {
	var list []string
	for _, w := range words {
		list = append(list, quote(w))
	}
	return strings.Join(list, " ")
}

// own is what a script has said, without what was said before it began: all of it where it did not begin.
func own(text []byte) []byte {
	if _, after, ok := bytes.Cut(text, []byte(begun)); ok {
		return after
	}
	return text
}

// framed passes on what a script prints, once it has begun.
type framed struct {
	to     io.Writer
	before []byte
	begun  bool
}

func (f *framed) Write(p []byte) (int, error) {
	if f.begun {
		return f.to.Write(p)
	}
	f.before = append(f.before, p...)
	at := bytes.Index(f.before, []byte(begun))
	if at < 0 {
		f.before = f.before[max(0, len(f.before)-len(begun)):]
		return len(p), nil
	}
	f.begun = true
	if _, err := f.to.Write(f.before[at+len(begun):]); err != nil {
		return 0, err
	}
	return len(p), nil
}
