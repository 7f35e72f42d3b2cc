package render

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"mime"
	"path"
	"strings"
)

// Static lists the files of a front page in the order of their names; dir is where they will be on the proxy's host.
// Every index.html is listed under the path of its directory as well.
func Static(files fs.FS, dir string) ([]StaticFile, error) {
	var list []StaticFile
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		f := StaticFile{
			URLPath: "/" + name, File: path.Join(dir, name), SizeBytes: int64(len(data)),
			ContentType: contentType(name), ETag: fmt.Sprintf(`"%x"`, sum[:8]),
		}
		list = append(list, f)
		if base, ok := strings.CutSuffix(f.URLPath, "index.html"); ok {
			f.URLPath = base
			list = append(list, f)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the front page: %w", err)
	}
	return list, nil
}

func contentType(name string) string {
	// The types that differ between systems' own lists are settled here.
	switch path.Ext(name) {
	case ".html":
		return "text/html"
	case ".js":
		return "text/javascript"
	case ".ico":
		return "image/x-icon"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}
