package host

import (
	"context"
	"fmt"
	"path"
	"strings"
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
