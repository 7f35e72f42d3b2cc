package host

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// AsRoot runs the script of $0 as root where that can be had without a question: others' open files are root's to see.
const AsRoot = `if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then exec sudo -n sh -c "$0" sh "$@"; fi; exec sh -c "$0" sh "$@"`

// Output runs a command on a host and returns what it printed; an exit status other than 0 is an error with its complaint.
func Output(ctx context.Context, h Host, argv ...string) (string, error) {
	res, err := h.Run(ctx, Command{Argv: argv})
	if err != nil {
		return "", err
	}
	if res.Code != 0 {
		said := strings.TrimSpace(string(res.Stderr))
		if said == "" {
			said = strings.TrimSpace(string(res.Stdout))
		}
		return string(res.Stdout), fmt.Errorf("%s: exit status %d: %s", path.Base(argv[0]), res.Code, lastLine(said))
	}
	return string(res.Stdout), nil
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }
