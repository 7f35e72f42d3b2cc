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

// Rebooter is a host that is a machine of its own. Reboot returns when it has booted again and answers, or when ctx ends.
type Rebooter interface {
	Reboot(ctx context.Context) error
}

// Unitary is a host whose services are units of systemd; DropIn is a file of more settings for one of them, which the service's next
// start reads, its boot's, too, and which goes when the service is forgotten.
type Unitary interface {
	DropIn(service string) string
}

// DropIn is the drop-in of a host's service; "" where systemd does not run it.
func DropIn(h Host, service string) string {
	if u, ok := h.(Unitary); ok {
		return u.DropIn(service)
	}
	return ""
}
