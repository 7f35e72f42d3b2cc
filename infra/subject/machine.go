package subject

import (
	"context"
	"errors"
	"fmt"

	"isukit/infra/host"
)

// errNotInstalled says that a server is not there.
var errNotInstalled = errors.New("it does not run, and its program is not installed")

// programOf finds a program on a host, also where root alone has it on PATH.
func programOf(ctx context.Context, at host.Host, name string) (string, error) {
	out, err := host.Output(ctx, at, "sh", "-c", `PATH=$PATH:/usr/sbin:/usr/local/sbin; command -v "$1" || true`, "sh", name)
	if err == nil && len(out) < 2 {
		err = fmt.Errorf("%s: %w", name, errNotInstalled)
	}
	return trimLine(out), err
}
