package input

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that unpacking zstd takes, in bytes: that of zstd --long.
const maxWindow = 128 << 20

// Unpack returns a buffered reader of a file, which is unpacked if it is gzip, bzip2 or zstd. The error is about its first bytes.
func Unpack(from io.Reader) (*bufio.Reader, error) {
	const size = 256 << 10
	packed := bufio.NewReaderSize(from, size)
	magic, _ := packed.Peek(6)
	var unpacked io.Reader
	var err error
	switch {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		unpacked, err = gzip.NewReader(packed)
	case bytes.HasPrefix(magic, []byte("BZh")):
		unpacked = bzip2.NewReader(packed)
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		unpacked, err = zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
	case bytes.Equal(magic, []byte("\xfd7zXZ\x00")):
		err = errors.New("it is packed with xz: give it as the output of xz -dc")
	default:
		return packed, nil
	}
	if err != nil {
		return nil, err
	}
	return bufio.NewReaderSize(unpacked, size), nil
}
