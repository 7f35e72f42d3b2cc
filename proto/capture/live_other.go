//go:build !linux

package capture

import (
	"context"
	"errors"
)

// Live captures from an interface, on Linux only.
type Live struct{ PacketSource }

// OpenLive says that it cannot be done here.
func OpenLive(_ context.Context, iface, netns string) (*Live, error) {
	return nil, errors.New("capture from an interface: only Linux can; a file, or a host over ssh, can be read from here")
}

// Close ends the capture.
func (l *Live) Close() error { return nil }

// Dropped is how many packets were lost.
func (l *Live) Dropped() (uint64, error) { return 0, nil }
