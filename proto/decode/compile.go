package decode

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	maxProtoFiles     = 20_000
	maxProtoFileBytes = 8 << 20
	// maxAncestors is how many levels above a given directory an import root is looked for.
	maxAncestors = 4
	maxReported  = 20
)

// Compile compiles every .proto file below dirs, in process. Each directory is an import root. If an import does not resolve from it but
// does from a directory above or below, that one is used instead, with a note: the import root must be the directory from which the
// imports' paths start. All syntax errors are reported, with line and column.
func Compile(ctx context.Context, dirs ...string) (*Schema, error) {
	var roots, found []string
	for _, dir := range dirs {
		// Roots are compared with each other and with directories above them, so all are absolute.
		root, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("find .proto files in %s: %w", dir, err)
		}
		files, err := protoFiles(root)
		if err != nil {
			return nil, err
		}
		roots, found = append(roots, root), append(found, files...)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no .proto file below %s", strings.Join(dirs, ", "))
	}
	found = unique(found)
	roots, notes, err := importRoots(roots, found)
	if err != nil {
		return nil, err
	}
	schema, err := compileFiles(ctx, roots, found)
	if err != nil {
		return nil, err
	}
	schema.Notes = append(notes, schema.Notes...)
	return schema, nil
}

func protoFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".proto":
			return nil
		case len(files) >= maxProtoFiles:
			return fmt.Errorf("more than %d .proto files: name a directory further down", maxProtoFiles)
		}
		files = append(files, filepath.Clean(path))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find .proto files in %s: %w", dir, err)
	}
	return files, nil
}

func compileFiles(ctx context.Context, roots, files []string) (*Schema, error) {
	names := make([]string, 0, len(files))
	for _, path := range files {
		names = append(names, importName(roots, path))
	}
	names = unique(names)
	var faults []error
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: roots, Accessor: new(protoReader).open}),
		Reporter: reporter.NewReporter(func(err reporter.ErrorWithPos) error {
			if faults = append(faults, err); len(faults) >= maxReported {
				return err
			}
			return nil
		}, nil),
	}
	linked, err := compiler.Compile(ctx, names...)
	if len(faults) > 0 {
		return nil, fmt.Errorf("compile .proto files: %w", errors.Join(faults...))
	}
	if err != nil {
		return nil, fmt.Errorf("compile .proto files: %w", err)
	}
	descriptors := make([]protoreflect.FileDescriptor, len(linked))
	for i, f := range linked {
		descriptors[i] = f
	}
	return NewSchema(descriptors...)
}

// importName is path as an import statement would name it: relative to the deepest root that holds it.
func importName(roots []string, path string) string {
	name := ""
	for _, root := range roots {
		if rel, below := relative(root, path); below && (name == "" || len(rel) < len(name)) {
			name = rel
		}
	}
	return filepath.ToSlash(name)
}

// importRoots checks that what files import resolves from dirs, and finds the roots that make it so where not.
func importRoots(dirs, files []string) (roots, notes []string, err error) {
	roots = slices.Clone(dirs)
	imports, err := importsOf(files)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range imports {
		if resolves(roots, name) {
			continue
		}
		given, actual := findRoot(roots, files, name)
		if actual == "" {
			return nil, nil, fmt.Errorf("import %q is in none of %s, nor above or below: name the directory that holds it with --proto",
				name, strings.Join(dirs, ", "))
		}
		roots = replaceRoot(roots, given, actual)
		notes = append(notes, fmt.Sprintf("import root %s is not where imports start: %q resolves from %s, which is used instead", given, name, actual))
	}
	return unique(roots), notes, nil
}

// relative is path from root on, and reports whether it is below root.
func relative(root, path string) (rel string, below bool) {
	rel, err := filepath.Rel(root, path)
	return rel, err == nil && !strings.HasPrefix(rel, "..")
}

func resolves(roots []string, name string) bool {
	return strings.HasPrefix(name, "google/protobuf/") ||
		slices.ContainsFunc(roots, func(root string) bool { return isFile(filepath.Join(root, name)) })
}

// replaceRoot replaces given by actual. A root further down is added to given, which has other files.
func replaceRoot(roots []string, given, actual string) []string {
	out := []string{actual}
	for _, root := range roots {
		if _, below := relative(given, actual); root != given || below {
			out = append(out, root)
		}
	}
	return out
}

// findRoot looks for the directory from which name resolves: above each root, then below among files.
func findRoot(roots, files []string, name string) (given, actual string) {
	for _, root := range roots {
		above := root
		for range maxAncestors {
			above = filepath.Dir(above)
			if isFile(filepath.Join(above, name)) {
				return root, above
			}
		}
	}
	suffix := string(filepath.Separator) + filepath.FromSlash(name)
	for _, path := range files {
		if !strings.HasSuffix(path, suffix) {
			continue
		}
		actual = strings.TrimSuffix(path, suffix)
		for _, root := range roots {
			if _, below := relative(root, actual); below {
				return root, actual
			}
		}
	}
	return "", ""
}

// importsOf are the names that files import.
func importsOf(files []string) ([]string, error) {
	var reader protoReader
	for _, path := range files {
		f, err := reader.open(path)
		if err != nil {
			return nil, fmt.Errorf("read %w", err)
		}
		f.Close()
	}
	return unique(reader.imports), nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func unique(names []string) []string {
	sort.Strings(names)
	return slices.Compact(names)
}
