package round

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"isukit/cmd/internal/ui"
	"isukit/proto/capture"
)

// roundCapture writes a share of the generator's connections into a capture, which isukit capture reads.
type roundCapture struct {
	file   *os.File
	rec    *capture.Recorder
	share  float64
	dialed atomic.Int64
	// connect makes the connections.
	connect func(ctx context.Context, network, addr string) (net.Conn, error)
}

// newRoundCapture makes the file; one that is there already is not overwritten. share is the part of the connections, in
// (0,1], that is written.
func newRoundCapture(path string, share float64) (*roundCapture, error) {
	file, err := newFile("--capture", path)
	if err != nil {
		return nil, err
	}
	rec, err := capture.NewRecorder(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &roundCapture{file: file, rec: rec, share: share, connect: (&net.Dialer{KeepAlive: -1}).DialContext}, nil
}

// newFile makes the file that an option names, for its owner alone. One that is there already is not overwritten.
func newFile(option, path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, ui.UsageError(fmt.Errorf("%s: %w", option, err), "name a file that does not exist yet")
	}
	return file, nil
}

// CheckNewFile finds out before anything starts whether newFile will make the file; "" is none.
func CheckNewFile(option, path string) error {
	if path == "" {
		return nil
	}
	file, err := newFile(option, path)
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), os.Remove(path))
}

// dial is a dialler for the load engine. Which connections are written depends on their number alone, spread evenly.
func (c *roundCapture) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	n := c.dialed.Add(1)
	if int64(float64(n)*c.share) == int64(float64(n-1)*c.share) {
		return conn, nil
	}
	return c.rec.Conn(conn)
}

// close ends the file; the error says that the capture is not whole.
func (c *roundCapture) close() error {
	return errors.Join(c.rec.Flush(), c.file.Close())
}
