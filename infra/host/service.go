package host

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// limited sets the limit of open files, soft and hard, and becomes the program. It is given the number first.
const limited = `ulimit -n "$0" || exit 126; exec "$@"`

// Command is what starts the service's program with its limit and under its account, as one process that becomes the
// program. It is for hosts on this machine.
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
