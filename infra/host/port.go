package host

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports for servers are taken from below the kernel's range for outgoing connections (32768 and up by default), so
// that a server that is restarted finds its port free.
const firstPort, lastPort = 20000, 31999

// FreePort returns a TCP port of 127.0.0.1 on which nothing listens. It may be taken by the time it is used: a server
// that finds it so must be started again with another.
func FreePort() (int, error) {
	for range 200 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		return port, nil
	}
	return 0, errors.New("find a free port: 200 tries between 20000 and 31999 found none")
}
