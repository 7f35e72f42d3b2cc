package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// aName may begin an error: of a protocol, a variable, a file or the sides of a comparison.
var aName = regexp.MustCompile(`^(A and B|[A-Z]([A-Z0-9]|$|[a-z]*[A-Z]))`)

// TestErrorWords holds that errors and hints begin in lower case and end without a period.
func TestErrorWords(t *testing.T) {
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			at := map[string]int{"New": 0, "Errorf": 0, "hinted": 1, "usageError": 1, "found": 1}
			name := ""
			switch fn := call.Fun.(type) {
			case *ast.Ident:
				name = fn.Name
			case *ast.SelectorExpr:
				if pkg, ok := fn.X.(*ast.Ident); ok && (pkg.Name == "errors" || pkg.Name == "fmt") {
					name = fn.Sel.Name
				}
			}
			i, ok := at[name]
			if !ok || i >= len(call.Args) {
				return true
			}
			literal, ok := call.Args[i].(*ast.BasicLit)
			if !ok {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				return true
			}
			checked++
			if text != "" && (text[0] >= 'A' && text[0] <= 'Z' && !aName.MatchString(text) || strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "...")) {
				t.Errorf("%s: %q begins with a capital, or ends in a period", set.Position(literal.Pos()), text)
			}
			return true
		})
	}
	if checked < 100 {
		t.Errorf("only %d errors and hints were found", checked)
	}
}
