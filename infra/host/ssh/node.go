package ssh

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"time"

	"isukit/infra/host"
)

type node struct {
	client *client
	about  host.About
	memo   memo
}

var (
	_ host.Host    = (*node)(nil)
	_ host.Batcher = (*node)(nil)
)

// About implements host.Host.
func (n *node) About() host.About { return n.about }

// The exit statuses of this package's scripts that mean something to it.
const (
	noProgram = 90
	noFile    = 91
	tooLarge  = 92
)

// enterScript begins a script: its process group is known by ID while it runs, it holds a lock as long as it or what it has started
// runs, and its directory is gone when it ends, by a signal as well: the shell of Debian runs no trap for EXIT then.
const enterScript = `work=/run/isukit/%[1]s.d
trap 'rm -rf "$work" "${work%%.d}"' EXIT
trap 'exit 1' HUP INT PIPE TERM
PATH="$PATH:` + systemPath + `"
mkdir -p -m 700 "$work" && exec 8>"${work%%.d}" && flock 8 || exit 1
read -r _ _ _ _ group _ </proc/$$/stat
echo "$group" >&8
`

// runScript runs a command as a child, with the rest as its input. Arguments: ID, directory, environment and command, as shell words.
const runScript = enterScript + `export PATH
{ %[2]s; } || exit 126
%[3]s
program=$(command -v %[4]s) || exit 90
"$program" %[5]s
code=$?
[ "$code" != 255 ] || echo isukit-exits-255 >&2
exit "$code"
`

// wholeInput has a command read its input only when all of it is there: who sends it may be killed in the middle.
func wholeInput(input []byte) string {
	if len(input) == 0 {
		return "exec </dev/null"
	}
	return fmt.Sprintf(`head -c %[1]d >"$work/in" && [ "$(stat -c %%s "$work/in")" -eq %[1]d ] && exec <"$work/in" || exit 93`, len(input))
}

// endScript ends what runs by the IDs that patterns match, all of its processes, and clears up after it.
const endScript = `for run in %s; do
	[ -f "$run" ] || continue
	flock -n "$run" true || { kill -s KILL -- "-$(cat "$run")"; flock -w 10 "$run" true; }
	rm -rf "$run" "$run.d"
done
`

// Run implements host.Host.
func (n *node) Run(ctx context.Context, cmd host.Command) (host.Result, error) {
	answers, err := n.Do(ctx, []host.Op{{Run: &cmd}})
	if err != nil {
		return host.Result{}, fmt.Errorf("run %s on %s: %w", path.Base(cmd.Argv[0]), n.about.Name, err)
	}
	return answers[0].Result, answers[0].Err
}

// changeTo is how a command gets into its directory. That of isukit is the default, and may be gone: by a down that was killed.
func changeTo(dir string) string {
	if dir == "" {
		return "cd " + remoteDir + " 2>/dev/null || cd /"
	}
	return "cd " + quote(dir)
}

func exports(env []string) string {
	if len(env) == 0 {
		return ":"
	}
	return "export " + quoteAll(env)
}

// heldRuns are the IDs of commands for the holder of a host's lock; the next holder ends those that are left.
const heldRuns = "held-"

func (c *client) newID() string {
	var id [8]byte
	rand.Read(id[:])
	prefix := "run-"
	if c.holds() {
		prefix = heldRuns
	}
	return prefix + hex.EncodeToString(id[:])
}

// kill ends a command whose caller has given up.
func (n *node) kill(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), greetings*connectSeconds*time.Second)
	defer cancel()
	if _, err := n.client.script(ctx, fmt.Sprintf(endScript, "/run/isukit/"+id), nil, host.MaxOutputBytes); err != nil {
		return fmt.Errorf("end the command: %w", err)
	}
	return nil
}

// Put implements host.Host.
func (n *node) Put(ctx context.Context, file string, data []byte, mode fs.FileMode) error {
	return host.PutAll(ctx, n, []host.File{{Path: file, Data: data, Mode: mode}})
}

// Get implements host.Host.
func (n *node) Get(ctx context.Context, file string) ([]byte, error) {
	answers, err := n.Do(ctx, []host.Op{{Get: file}})
	if err != nil {
		return nil, fmt.Errorf("get %s on %s: %w", file, n.about.Name, err)
	}
	return answers[0].Stdout, answers[0].Err
}

// Remove implements host.Host.
func (n *node) Remove(ctx context.Context, file string) error {
	n.memo.act()
	script := "rm -rf -- " + quoteAll([]string{file, file + newFile})
	if n.client.opts.Apart { // isukit's directory was made for these files only, and has no owner
		script += " && { rmdir " + remoteDir + " 2>/dev/null || :; }"
	}
	_, err := n.client.check(ctx, "remove "+file, script, nil)
	return err
}
