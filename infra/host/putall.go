package host

import (
	"context"
	"io/fs"
)

// File is what Put writes.
type File struct {
	Path string
	Data []byte
	Mode fs.FileMode
}

// Batcher is a host that writes several files at the price of one. Each is written as Put writes it, in their order; when one
// cannot be, those before it have been.
type Batcher interface {
	PutAll(ctx context.Context, files []File) error
}

// PutAll writes files to a host, at once where it can do that.
func PutAll(ctx context.Context, h Host, files []File) error {
	if b, ok := h.(Batcher); ok && len(files) > 0 {
		return b.PutAll(ctx, files)
	}
	for _, f := range files {
		if err := h.Put(ctx, f.Path, f.Data, f.Mode); err != nil {
			return err
		}
	}
	return nil
}
