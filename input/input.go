// Package input opens what others wrote: their rounds, captures, schemas, logs and project files. A path goes in, an open
// regular file or its bounded content comes out. A pipe or a device is refused before anything waits for it, and a Dir
// cannot be left, whatever links are in it. What the content means is left to others; CheckJSON bounds what decoding it may cost.
package input

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// NotRegularError says that a path leads to something else than a regular file, such as a pipe, a device or a directory.
type NotRegularError struct {
	Path string
	Mode fs.FileMode
}

func (e *NotRegularError) Error() string {
	kind := "a special file"
	switch {
	case e.Mode.IsDir():
		kind = "a directory"
	case e.Mode&fs.ModeNamedPipe != 0:
		kind = "a pipe"
	case e.Mode&fs.ModeSocket != 0:
		kind = "a socket"
	case e.Mode&fs.ModeDevice != 0:
		kind = "a device"
	}
	return fmt.Sprintf("%s is %s, not a regular file", e.Path, kind)
}

// TooLongError says that a file is longer than what is read of its kind.
type TooLongError struct {
	Path       string
	LimitBytes int64
}

func (e *TooLongError) Error() string {
	return fmt.Sprintf("%s has more than %d bytes", e.Path, e.LimitBytes)
}

// Open opens a regular file. Anything else is a NotRegularError, and not opened: a pipe would wait for a writer, a device may act.
func Open(path string) (*os.File, error) {
	return open(path, func() (fs.FileInfo, error) { return os.Stat(path) }, func(flags int) (*os.File, error) { return os.OpenFile(path, flags, 0) })
}

// open looks before it opens and after, as the path may have become another file in between.
func open(path string, stat func() (fs.FileInfo, error), open func(flags int) (*os.File, error)) (*os.File, error) {
	st, err := stat()
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		failed.Op = "open"
	}
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &NotRegularError{path, st.Mode()}
	}
	f, err := open(os.O_RDONLY | syscall.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if st, err = f.Stat(); err == nil && !st.Mode().IsRegular() {
		err = &NotRegularError{path, st.Mode()}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Read returns the content of a regular file of at most limit bytes; a longer one gives a TooLongError.
func Read(path string, limit int64) ([]byte, error) {
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadFrom(f, path, limit)
}

// ReadFrom returns all of r, which is called name in errors; more than limit bytes give a TooLongError.
func ReadFrom(r io.Reader, name string, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(text)) > limit {
		return nil, &TooLongError{name, limit}
	}
	return text, err
}

// Dir is a directory that may come from other people. Its names are relative, with forward slashes; those that lead out of it, by ".." or
// by a link, are errors.
type Dir struct{ root *os.Root }

// OpenDir opens the directory at path, which may be a link. The caller closes it.
func OpenDir(path string) (*Dir, error) {
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR} // opening a pipe would wait
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &Dir{root}, nil
}

// Sub opens a directory inside d.
func (d *Dir) Sub(name string) (*Dir, error) {
	local := filepath.FromSlash(name)
	if st, err := d.root.Stat(local); err == nil && !st.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	root, err := d.root.OpenRoot(local)
	if err != nil {
		return nil, err
	}
	return &Dir{root}, nil
}

// Open opens a regular file inside d, as Open does.
func (d *Dir) Open(name string) (*os.File, error) {
	local := filepath.FromSlash(name)
	return open(filepath.Join(d.root.Name(), local), func() (fs.FileInfo, error) { return d.root.Stat(local) },
		func(flags int) (*os.File, error) { return d.root.OpenFile(local, flags, 0) })
}

// Close gives the directory back.
func (d *Dir) Close() error { return d.root.Close() }
