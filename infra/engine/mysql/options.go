package mysql

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// OptionFile is a file that a database server reads its options from, or would if it were as it should.
type OptionFile struct {
	engine.File
	// InDirectory says that !includedir names its directory, which takes files by their suffix.
	InDirectory bool
}

// Keys are the options that the file sets for the server, in one spelling.
func (f OptionFile) Keys() []string {
	var keys []string
	section := ""
	for line := range strings.Lines(f.Text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(line, "[] ")
			continue
		}
		if line == "" || strings.IndexByte("#;!", line[0]) >= 0 || !serverSection(section) {
			continue
		}
		key, _, _ := strings.Cut(line, "=")
		keys = append(keys, strings.ToLower(strings.ReplaceAll(strings.TrimSpace(key), "-", "_")))
	}
	return keys
}

func serverSection(name string) bool {
	for _, prefix := range []string{"mysqld", "mariadbd", "server", "mariadb"} {
		if name == prefix || strings.HasPrefix(name, prefix+"-") {
			return true
		}
	}
	return false
}

// defaultFiles are those that servers of Debian, Ubuntu and Red Hat read when their command line names none.
var defaultFiles = []string{"/etc/my.cnf", "/etc/mysql/my.cnf"}

const maxOptionFiles = 200

// ReadOptions reads the option files of a database server, by its command line, and those that they include, in order.
func ReadOptions(ctx context.Context, at host.Host, argv []string) ([]OptionFile, error) {
	next := roots(argv)
	inDirectory := map[string]bool{}
	var all []OptionFile
	for len(next) > 0 && len(all) < maxOptionFiles {
		files, err := engine.ReadFiles(ctx, at, next)
		if err != nil {
			return nil, fmt.Errorf("read option files: %w", err)
		}
		next = nil
		for _, f := range files {
			if slices.ContainsFunc(all, func(o OptionFile) bool { return o.Path == f.Path }) {
				continue
			}
			f := OptionFile{f, inDirectory[path.Dir(f.Path)]}
			all = append(all, f)
			if f.InDirectory && !strings.HasSuffix(f.Path, ".cnf") {
				continue // the server does not look into it
			}
			for _, include := range f.includes() {
				if strings.HasSuffix(include, "/") {
					inDirectory[path.Clean(include)] = true
				}
				next = append(next, include)
			}
		}
	}
	return all, nil
}

func roots(argv []string) []string {
	extra := slices.Clone(defaultFiles)
	for _, arg := range argv {
		switch name, value, _ := strings.Cut(strings.ReplaceAll(arg, "_", "-"), "="); {
		case name == "--no-defaults":
			return nil
		case name == "--defaults-file" && value != "":
			_, value, _ = strings.Cut(arg, "=")
			return []string{value}
		case name == "--defaults-extra-file" && value != "":
			_, value, _ = strings.Cut(arg, "=")
			extra = append(extra, value)
		}
	}
	return extra
}

// includes are the files that the file includes; a directory ends in "/".
func (f OptionFile) includes() []string {
	var list []string
	for line := range strings.Lines(f.Text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "!include":
			list = append(list, words[1])
		case "!includedir":
			list = append(list, strings.TrimSuffix(words[1], "/")+"/")
		}
	}
	return list
}

// OptionFileFor is the file for new settings of a server, by its command line: one of isukit's own in the last directory that it includes,
// or otherwise the last file that it reads. "" means that it reads none.
func OptionFileFor(ctx context.Context, at host.Host, argv []string) (string, error) {
	files, err := ReadOptions(ctx, at, argv)
	if err != nil {
		return "", err
	}
	file, roots := "", roots(argv)
	for _, root := range roots {
		n := slices.IndexFunc(files, func(f OptionFile) bool { return f.Path == root && f.Real != "" })
		if n < 0 {
			continue
		}
		file = root
		for _, include := range files[n].includes() {
			if strings.HasSuffix(include, "/") {
				file = include + "zz-isukit.cnf"
			}
		}
	}
	if file == "" && len(roots) > 0 {
		file = roots[0] // none is there yet
	}
	return file, nil
}
