package ui

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
)

// ReadRegular reads a file of at most limit bytes. Anything but a regular file is an error: a pipe may never end, and a
// device is no input that a user means.
func ReadRegular(path string, limit int64) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return text, err
}

// MaxBodyFileBytes bounds what a command reads as one body or one schema file.
const MaxBodyFileBytes = 64 << 20

// ReadBounded reads a file, or in for "-", up to maxBodyFileBytes.
func ReadBounded(name string, in io.Reader) ([]byte, error) {
	r := in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, UsageError(err, "")
		}
		defer f.Close()
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, MaxBodyFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > MaxBodyFileBytes {
		return nil, UsageError(fmt.Errorf("%s has more than %d bytes", name, MaxBodyFileBytes), "")
	}
	return data, nil
}

// Gunzip unpacks up to maxBodyFileBytes.
func Gunzip(packed []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, MaxBodyFileBytes+1))
	if err == nil && len(data) > MaxBodyFileBytes {
		err = fmt.Errorf("more than %d bytes", MaxBodyFileBytes)
	}
	return data, err
}
