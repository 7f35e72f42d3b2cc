package digest

import (
	"bufio"
	"compress/gzip"
	"io"
)

// Unpack returns a reader of a log, buffered, which is unpacked where it is gzip. The error is about the gzip's head.
func Unpack(from io.Reader) (*bufio.Reader, error) {
	const size = 256 << 10
	packed := bufio.NewReaderSize(from, size)
	if magic, _ := packed.Peek(2); len(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b {
		return packed, nil
	}
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	return bufio.NewReaderSize(unpacked, size), nil
}
