package isukit_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// mostOther is how many lines of cmd/isukit may be functions that neither build a command nor print: what they do belongs to
// cmd/internal, where it has tests without a command line.
const mostOther = 1350

// TestCommandsAreCommands holds that cmd/isukit is flags, words and exit codes.
func TestCommandsAreCommands(t *testing.T) {
	files, err := filepath.Glob("cmd/isukit/*.go")
	if err != nil {
		t.Fatal(err)
	}
	all, other := 0, 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		all += set.File(f.Pos()).LineCount()
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || commandOrOutput(fn) {
				continue
			}
			other += set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
		}
	}
	if other > mostOther {
		t.Errorf("%d of %d lines of cmd/isukit neither build a command nor print, of at most %d: what they do belongs to cmd/internal", other, all, mostOther)
	}
}

// commandOrOutput tells that a function deals with the command line or with what is printed: with cobra, pflag, the streams, a writer, the
// errors of users, or the words of package ui.
func commandOrOutput(fn *ast.FuncDecl) bool {
	found := false
	ast.Inspect(fn, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				switch name := x.Name + "." + n.Sel.Name; {
				case x.Name == "cobra", x.Name == "pflag", x.Name == "ui", name == "io.Writer", strings.HasPrefix(name, "fmt.Fprint"):
					found = true
				}
			}
		case *ast.Ident:
			found = found || n.Name == "streams"
		}
		return !found
	})
	return found
}
