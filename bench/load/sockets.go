package load

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
)

// Sockets counts what an engine's clients did with connections, in addition to their hits.
type Sockets struct {
	// Dialed connections were made; Failed ones could not be.
	Dialed, Failed int64
	// Replaced connections were closed by the server while idle; Repeated requests were sent again after a connection without an answer.
	Replaced, Repeated int64
	// OutOfFiles and OutOfPorts are failures of the generator, not of the server.
	OutOfFiles, OutOfPorts int64
}

// Limits says, a sentence each, how the generator's own sockets limited the load; empty if they did not.
func (s Sockets) Limits() []string {
	var why []string
	if s.OutOfFiles > 0 {
		why = append(why, fmt.Sprintf("the generator ran out of file descriptors %d times: raise its limit (ulimit -n)", s.OutOfFiles))
	}
	if s.OutOfPorts > 0 {
		why = append(why, fmt.Sprintf("the generator ran out of local ports %d times", s.OutOfPorts))
	}
	return why
}

// Sockets returns the counts so far.
func (e *Engine) Sockets() Sockets {
	c := &e.sockets
	return Sockets{
		Dialed: c.dialed.Load(), Failed: c.failed.Load(), Replaced: c.replaced.Load(), Repeated: c.repeated.Load(),
		OutOfFiles: c.outOfFiles.Load(), OutOfPorts: c.outOfPorts.Load(),
	}
}

type socketCounts struct {
	dialed, failed, replaced, repeated, outOfFiles, outOfPorts atomic.Int64
}

func (c *socketCounts) note(err error) {
	if err == nil {
		c.dialed.Add(1)
		return
	}
	c.failed.Add(1)
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		c.outOfFiles.Add(1)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		c.outOfPorts.Add(1)
	}
}
