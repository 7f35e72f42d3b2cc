package host

import (
	"context"
	"io"
	"net"
)

// Dialer is a host that is not this machine and makes connections: whoever answers sees one that comes from the host. That is
// how isukit reaches what listens there for the hosts alone.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Piper is a host that runs a command with input and output of any size, as Run does not. in may be nil. An exit status other
// than 0 is an error.
type Piper interface {
	Pipe(ctx context.Context, cmd Command, in io.Reader, out io.Writer) error
}

// Lister is a host that tells the states of all services at the price of one.
type Lister interface {
	States(ctx context.Context) (map[string]State, error)
}
