package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// goFile finds statements in one package.
type goReader struct {
	fset   *token.FileSet
	consts map[string]ast.Expr // of the package, by name
	used   map[token.Pos]bool  // literals that are part of a statement that was found
	list   []statement

	assigns map[string][]assign
}

// assign is one value that a variable of the function gets.
type assign struct {
	pos  token.Pos
	expr ast.Expr
	more bool // += and the like
}

// goStatements are those of one package. A file that cannot be parsed is an error, after the others were read.
func goStatements(files []source) ([]statement, error) {
	g := &goReader{fset: token.NewFileSet(), consts: map[string]ast.Expr{}, used: map[token.Pos]bool{}}
	var trees []*ast.File
	var failed error
	for _, f := range files {
		tree, err := parser.ParseFile(g.fset, f.path, f.text, parser.SkipObjectResolution)
		if err != nil {
			failed = err
			continue
		}
		trees = append(trees, tree)
		g.declared(tree)
	}
	for _, tree := range trees {
		g.each(tree, g.calls)
	}
	for _, tree := range trees {
		g.each(tree, g.texts)
	}
	return g.list, failed
}

// declared notes the package's constants and variables.
func (g *goReader) declared(tree *ast.File) {
	for _, d := range tree.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			if v, ok := spec.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
				for i, name := range v.Names {
					g.consts[name.Name] = v.Values[i]
				}
			}
		}
	}
}

// each calls visit for every node of tree, with the function around it known.
func (g *goReader) each(tree *ast.File, visit func(ast.Node) bool) {
	for _, d := range tree.Decls {
		g.assigns = nil
		if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
			g.assigns = assignsOf(f.Body)
		}
		ast.Inspect(d, visit)
	}
}

// assignsOf are the values that the variables of a function get, by name.
func assignsOf(body *ast.BlockStmt) map[string][]assign {
	all := map[string][]assign{}
	add := func(name ast.Expr, a assign) {
		if id, ok := name.(*ast.Ident); ok && id.Name != "_" {
			all[id.Name] = append(all[id.Name], a)
		}
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				a := assign{pos: n.Pos(), more: n.Tok == token.ADD_ASSIGN}
				if a.expr = n.Rhs[0]; len(n.Rhs) == len(n.Lhs) { // else it is one of several that a call returns
					a.expr = n.Rhs[i]
				}
				add(left, a)
			}
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if len(n.Values) == len(n.Names) {
					add(name, assign{pos: n.Pos(), expr: n.Values[i]})
				}
			}
		case *ast.CallExpr: // what is written to a strings.Builder
			to, text := written(n)
			if to != nil {
				add(to, assign{pos: n.Pos(), expr: text, more: true})
			}
		}
		return true
	})
	return all
}

// written is the text that a call adds to a builder, and the builder.
func written(call *ast.CallExpr) (to, text ast.Expr) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	switch {
	case !ok || len(call.Args) == 0:
	case sel.Sel.Name == "WriteString" && len(call.Args) == 1:
		return sel.X, call.Args[0]
	case sel.Sel.Name == "Fprintf" && len(call.Args) > 1:
		if u, ok := call.Args[0].(*ast.UnaryExpr); ok {
			return u.X, &ast.CallExpr{Fun: &ast.SelectorExpr{X: ast.NewIdent("fmt"), Sel: ast.NewIdent("Sprintf")}, Args: call.Args[1:]}
		}
	}
	return nil, nil
}

// databaseCalls are the methods that take a statement, with its possible places. The sure ones exist only in database/sql and sqlx.
var databaseCalls = map[string]struct {
	at   []int
	sure bool
}{
	"Exec": {[]int{0, 1}, false}, "ExecContext": {[]int{1}, true}, "MustExec": {[]int{0}, true}, "MustExecContext": {[]int{1}, true},
	"Query": {[]int{0, 1}, false}, "QueryContext": {[]int{1}, true}, "QueryRow": {[]int{0, 1}, true}, "QueryRowContext": {[]int{1}, true},
	"Queryx": {[]int{0}, true}, "QueryxContext": {[]int{1}, true}, "QueryRowx": {[]int{0}, true}, "QueryRowxContext": {[]int{1}, true},
	"Get": {[]int{1, 2}, false}, "GetContext": {[]int{2, 3}, true}, "Select": {[]int{1, 2}, false}, "SelectContext": {[]int{2, 3}, true},
	"NamedExec": {[]int{0, 1}, true}, "NamedExecContext": {[]int{1, 2}, true}, "NamedQuery": {[]int{0, 1}, true}, "NamedQueryContext": {[]int{1, 2}, true},
	"Prepare": {[]int{0}, false}, "PrepareContext": {[]int{1}, true}, "Preparex": {[]int{0}, true}, "PreparexContext": {[]int{1}, true},
	"PrepareNamed": {[]int{0}, true}, "PrepareNamedContext": {[]int{1}, true}, "Raw": {[]int{0}, false},
}

// calls reports what is sent by the methods of database/sql and sqlx.
func (g *goReader) calls(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return true
	}
	known, ok := databaseCalls[sel.Sel.Name]
	if !ok {
		return true
	}
	var unknown ast.Expr
	for _, i := range known.at {
		if i >= len(call.Args) {
			continue
		}
		arg := call.Args[i]
		texts := g.eval(arg, call.Pos(), nil)
		for _, text := range texts {
			switch {
			case strings.Trim(text.s, hole+" ") == "":
				if plausible(arg) {
					unknown = arg
				}
			case looksSQL(text.s), known.sure && i == known.at[0], isTransactionText(text.s):
				g.found(text, arg)
				unknown = nil
				return true
			}
		}
	}
	if unknown != nil && known.sure {
		g.found(evaluated{s: hole}, unknown)
	}
	return true
}

// isTransactionText reports whether a text begins or ends a transaction: such short texts are only recognised in calls.
func isTransactionText(text string) bool {
	return slices.Contains([]string{"BEGIN", "COMMIT", "ROLLBACK", "START TRANSACTION", "UNLOCK TABLES"}, strings.ToUpper(strings.Trim(text, " ;\n")))
}

// plausible reports whether an expression may be a text that is not known: a variable, a field, a call.
func plausible(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name != "nil" && e.Name != "ctx"
	case *ast.SelectorExpr, *ast.CallExpr, *ast.IndexExpr, *ast.BinaryExpr:
		return true
	}
	return false
}

// texts reports what looks like a statement and is not sent by a call that calls found.
func (g *goReader) texts(n ast.Node) bool {
	e, ok := n.(ast.Expr)
	if !ok || g.used[n.Pos()] && isLiteral(n) {
		return true
	}
	switch e := e.(type) {
	case *ast.BasicLit:
	case *ast.BinaryExpr:
	case *ast.CallExpr:
		if name := called(e); name == "" || saysSomething.MatchString(name) {
			return !saysSomething.MatchString(name)
		}
	default:
		return true
	}
	for _, text := range g.eval(e, e.End(), nil) {
		if looksSQL(text.s) && len(text.literals) > 0 && !g.used[text.literals[0]] {
			g.found(text, e)
		}
	}
	return true
}

// saysSomething are the names of what takes a text for people: logs and errors.
var saysSomething = regexp.MustCompile(`(?:\.|^)(?:Debug|Info|Warn|Warning|Error|Fatal|Panic|Print|Log)(?:f|ln|w)?$|^errors\.|^panic$`)

func isLiteral(n ast.Node) bool { _, ok := n.(*ast.BasicLit); return ok }

// found adds a statement, at its first literal, or otherwise at the call.
func (g *goReader) found(text evaluated, at ast.Expr) {
	pos := at.Pos()
	if len(text.literals) > 0 {
		pos = text.literals[0]
	}
	for _, l := range text.literals {
		g.used[l] = true
	}
	where := g.fset.Position(pos)
	g.list = append(g.list, statement{file: where.Filename, line: where.Line, text: placed(text.s, namedMarks)})
}
