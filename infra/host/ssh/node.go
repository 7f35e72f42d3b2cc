package ssh

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"isukit/infra/host"
)

// node is a host that is reached through ssh.
type node struct {
	client *client
	about  host.About
	from   string // where commands start
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

	noDirectory = 94 // of a batch: that of isukit is not there yet
)

// runScript runs a command as a child, so that its process group is known by ID while it runs, for killScript. Its
// arguments are the ID, the directory, assignments of the environment and the command, all as shell words.
const runScript = `export PATH="$PATH:` + systemPath + `"
mkdir -p /run/isukit
cd %[2]s || exit 126
%[3]s
program=$(command -v %[4]s) || exit 90
read -r _ _ _ _ group _ </proc/$$/stat
echo "$group" >/run/isukit/%[1]s
trap 'rm -f /run/isukit/%[1]s' EXIT
"$program" %[5]s
code=$?
[ "$code" != 255 ] || echo isukit-exits-255 >&2
exit "$code"
`

// killScript ends the command with an ID, and all of its processes.
const killScript = `group=$(cat /run/isukit/%[1]s 2>/dev/null) || exit 0
rm -rf /run/isukit/%[1]s /run/isukit/%[1]s.d
kill -KILL -- "-$group"
`

// Run implements host.Host.
func (n *node) Run(ctx context.Context, cmd host.Command) (host.Result, error) {
	name := path.Base(cmd.Argv[0])
	dir := cmp.Or(cmd.Dir, n.from)
	op := []host.Op{{Run: &cmd}}
	if a, known := n.memo.known(op[0]); known {
		return a.Result, nil
	}
	id := newID()
	script := fmt.Sprintf(runScript, id, quote(dir), exports(cmd.Env), quote(cmd.Argv[0]), quoteAll(cmd.Argv[1:]))
	res, err := n.client.script(ctx, script, cmd.Stdin, host.MaxOutputBytes)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, n.kill(id))
		}
		return host.Result{}, fmt.Errorf("run %s on %s: %w", name, n.about.Name, err)
	}
	if res.Code == noProgram {
		return host.Result{}, fmt.Errorf("run %s on %s: program not found", name, n.about.Name)
	}
	res.Stderr = bytes.TrimSuffix(res.Stderr, []byte(exits255))
	n.memo.learn(op, []host.Answer{{Result: res}})
	return res, nil
}

func exports(env []string) string {
	if len(env) == 0 {
		return ":"
	}
	return "export " + quoteAll(env)
}

func newID() string {
	var id [8]byte
	rand.Read(id[:])
	return "run-" + hex.EncodeToString(id[:])
}

// kill ends a command whose caller has given up.
func (n *node) kill(id string) error {
	ctx, cancel := context.WithTimeout(context.Background(), connectSeconds*time.Second)
	defer cancel()
	if _, err := n.client.script(ctx, fmt.Sprintf(killScript, id), nil, host.MaxOutputBytes); err != nil {
		return fmt.Errorf("end the command: %w", err)
	}
	return nil
}

// Put implements host.Host.
func (n *node) Put(ctx context.Context, file string, data []byte, mode fs.FileMode) error {
	return host.PutAll(ctx, n, []host.File{{Path: file, Data: data, Mode: mode}})
}

const getScript = `file=%s
[ -e "$file" ] || exit 91
[ "$(wc -c <"$file")" -le %d ] || exit 92
cat -- "$file"
`

// Get implements host.Host.
func (n *node) Get(ctx context.Context, file string) ([]byte, error) {
	if a, known := n.memo.known(host.Op{Get: file}); known {
		return a.Stdout, a.Err
	}
	res, err := n.client.script(ctx, fmt.Sprintf(getScript, quote(file), host.MaxFileBytes), nil, host.MaxFileBytes)
	switch {
	case err != nil:
	case res.Code == noFile:
		err = fs.ErrNotExist
	case res.Code == tooLarge:
		err = fmt.Errorf("%w: more than %d bytes", host.ErrTooLarge, host.MaxFileBytes)
	case res.Code != 0:
		err = n.client.failure(res)
	}
	if err != nil {
		err = fmt.Errorf("get %s on %s: %w", file, n.about.Name, err)
	}
	n.memo.learn([]host.Op{{Get: file}}, []host.Answer{{Result: res, Err: err}})
	return res.Stdout, err
}

// Remove implements host.Host.
func (n *node) Remove(ctx context.Context, file string) error {
	n.memo.act()
	script := "rm -rf -- " + quote(file)
	if n.client.opts.Apart { // isukit's directory was made for what is put there, and is nobody's
		script += " && { rmdir " + remoteDir + " 2>/dev/null || :; }"
	}
	_, err := n.client.check(ctx, "remove "+file, script, nil)
	return err
}
