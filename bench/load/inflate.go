package load

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// inflater decompresses one client's gzip bodies into a buffer of its own.
type inflater struct {
	out []byte
}

// readers are shared by all clients: each holds a window of 32 KiB.
var readers = sync.Pool{New: func() any { return new(gzip.Reader) }}

// inflate returns the decompressed body, valid until the next call.
func (z *inflater) inflate(body []byte, limit int) ([]byte, *Fault) {
	zr := readers.Get().(*gzip.Reader)
	defer readers.Put(zr)
	if err := zr.Reset(bytes.NewReader(body)); err != nil {
		return nil, Faultf(Protocol, "body is not gzip", "%v", err)
	}
	if cap(z.out) > keptBuffer {
		z.out = nil
	}
	buf := bytes.NewBuffer(z.out[:0])
	n, err := io.Copy(buf, io.LimitReader(zr, int64(limit)+1))
	z.out = buf.Bytes()
	switch {
	case err != nil:
		return nil, Faultf(Protocol, "body is not gzip", "after %d bytes: %v", n, err)
	case n > int64(limit):
		return nil, Faultf(Protocol, "body too large", "more than %d bytes once decompressed", limit)
	}
	return z.out, nil
}
