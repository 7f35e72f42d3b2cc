package dbserver

import (
	"context"

	"isukit/infra/host"
)

// Bootstrapped is an installed MariaDB that is initialised like one in a tree, from the SQL in scripts.
func (in Install) Bootstrapped(scripts string) Install {
	in.initdb, in.scripts = "", scripts
	return in
}

// Held tells whether AppArmor holds a server's program on a host whose files of that are below root; program is what is started then.
func Held(ctx context.Context, h host.Host, root, dir string) (held bool, program []string, err error) {
	in, err := find(ctx, h, MariaDB, FindOp("", root))
	return in.held, in.in(dir), err
}
