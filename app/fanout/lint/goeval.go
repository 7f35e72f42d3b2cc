package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// evaluated is a text that an expression may have, with a hole for each part that is not known.
type evaluated struct {
	s        string
	literals []token.Pos // that it was made of
}

func (a evaluated) plus(b evaluated) evaluated {
	return evaluated{a.s + b.s, append(slices.Clone(a.literals), b.literals...)}
}

func (a evaluated) with(s string) evaluated { return evaluated{s, a.literals} }

var nothing = []evaluated{{s: hole}}

// maxTexts bounds the texts that one expression may have.
const maxTexts = 6

// eval returns the texts that e may have at a place in the function. Names in busy are being evaluated.
func (g *goReader) eval(e ast.Expr, at token.Pos, busy []string) []evaluated {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if err != nil {
			s = e.Value
		}
		return []evaluated{{s, []token.Pos{e.Pos()}}}
	case *ast.ParenExpr:
		return g.eval(e.X, at, busy)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return joined(g.eval(e.X, at, busy), g.eval(e.Y, at, busy))
		}
	case *ast.Ident:
		return g.variable(e.Name, at, busy)
	case *ast.SelectorExpr:
		if len(busy) < 10 {
			if value := g.consts[e.Sel.Name]; value != nil { // of another package of the directory, which has the same name there
				return g.eval(value, at, append(busy, e.Sel.Name))
			}
		}
	case *ast.CallExpr:
		return g.call(e, at, busy)
	}
	return nothing
}

func joined(a, b []evaluated) (list []evaluated) {
	for _, x := range a {
		for _, y := range b {
			if len(list) < maxTexts {
				list = append(list, x.plus(y))
			}
		}
	}
	return list
}

// variable returns the texts of a name: what it was given before the place, as it was and with everything that was added.
func (g *goReader) variable(name string, at token.Pos, busy []string) []evaluated {
	if slices.Contains(busy, name) || len(busy) > 10 {
		return nothing
	}
	assigns := slices.DeleteFunc(slices.Clone(g.assigns[name]), func(a assign) bool { return a.pos >= at })
	if len(assigns) == 0 {
		if value := g.consts[name]; value != nil && len(g.assigns[name]) == 0 {
			return g.eval(value, value.End(), append(busy, name))
		}
		return nothing
	}
	var list, open []evaluated
	for _, a := range assigns {
		more, rest := a.adds(name)
		switch {
		case more && len(open) > 0:
			open = joined(open, g.eval(rest, a.pos, append(busy, name)))
		case more:
			open = g.eval(rest, a.pos, append(busy, name))
		default:
			list = append(list, open...)
			open = g.eval(a.expr, a.pos, append(busy, name))
			list = append(list, open...)
		}
	}
	for _, o := range open {
		if !slices.ContainsFunc(list, func(e evaluated) bool { return e.s == o.s }) {
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b evaluated) int { return len(b.s) - len(a.s) }) // the fullest first
	return list[:min(len(list), maxTexts)]
}

// adds reports whether an assignment adds to what name had, and what.
func (a assign) adds(name string) (bool, ast.Expr) {
	if a.more {
		return true, a.expr
	}
	if b, ok := a.expr.(*ast.BinaryExpr); ok && b.Op == token.ADD {
		left, rest := b.X, b.Y
		for {
			inner, ok := left.(*ast.BinaryExpr)
			if !ok || inner.Op != token.ADD {
				break
			}
			left, rest = inner.X, &ast.BinaryExpr{X: inner.Y, Op: token.ADD, Y: rest}
		}
		if id, ok := left.(*ast.Ident); ok && id.Name == name {
			return true, rest
		}
	}
	return false, nil
}

// call returns the texts that a call of a function gives which is known.
func (g *goReader) call(e *ast.CallExpr, at token.Pos, busy []string) []evaluated {
	switch name, args := called(e), e.Args; {
	case name == "fmt.Sprintf" && len(args) > 0:
		return g.format(args, at, busy)
	case name == "strings.Join" && len(args) == 2:
		return g.join(args[0], args[1], at, busy)
	case name == "strings.Repeat" && len(args) == 2, strings.HasPrefix(name, "strings.Trim") && len(args) > 0, name == "string" && len(args) == 1,
		name == "sqlx.In" && len(args) > 0, name == "sqlx.Named" && len(args) > 0, strings.HasSuffix(name, ".Rebind") && len(args) == 1:
		list := g.eval(args[0], at, busy)
		for i, t := range list {
			if strings.HasPrefix(name, "strings.Trim") {
				list[i] = t.with(strings.Trim(t.s, ", \n\t"))
			}
		}
		return list
	case name == "sqlx.Rebind" && len(args) == 2:
		return g.eval(args[1], at, busy)
	case strings.HasSuffix(name, ".String") && len(args) == 0:
		if id, ok := e.Fun.(*ast.SelectorExpr).X.(*ast.Ident); ok && len(g.assigns[id.Name]) > 0 {
			return g.variable(id.Name, at, busy)
		}
	}
	return nothing
}

// called is the name of the function that a call calls: fmt.Sprintf.
func called(e *ast.CallExpr) string {
	switch f := e.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return x.Name + "." + f.Sel.Name
		}
		return "." + f.Sel.Name
	}
	return ""
}

var verbs = regexp.MustCompile(`%[-+# 0]*\d*(?:\.\d+)?[a-zA-Z%]`)

// format is fmt.Sprintf: a number is one, another text that is not known a hole.
func (g *goReader) format(args []ast.Expr, at token.Pos, busy []string) (list []evaluated) {
	for _, f := range g.eval(args[0], at, busy) {
		texts := []evaluated{f.with("")}
		n, last := 1, 0
		for _, v := range verbs.FindAllStringIndex(f.s, -1) {
			texts = joined(texts, []evaluated{{s: f.s[last:v[0]]}})
			last = v[1]
			switch verb := f.s[v[1]-1]; {
			case verb == '%':
				texts = joined(texts, []evaluated{{s: "%"}})
				continue
			case strings.IndexByte("dxXobtgfeq", verb) >= 0:
				texts = joined(texts, []evaluated{{s: map[bool]string{true: "'q'", false: "1"}[verb == 'q']}})
			case n < len(args):
				texts = joined(texts, g.eval(args[n], at, busy))
			default:
				texts = joined(texts, nothing)
			}
			n++
		}
		list = append(list, joined(texts, []evaluated{{s: f.s[last:]}})...)
	}
	return list[:min(len(list), maxTexts)]
}

// join is strings.Join of a list whose elements are known, each once, or of one that is not.
func (g *goReader) join(of, by ast.Expr, at token.Pos, busy []string) []evaluated {
	sep := g.eval(by, at, busy)
	var elements []ast.Expr
	switch of := of.(type) {
	case *ast.CompositeLit:
		elements = of.Elts
	case *ast.Ident:
		for _, a := range g.assigns[of.Name] {
			switch e := a.expr.(type) {
			case *ast.CompositeLit:
				elements = append(elements, e.Elts...)
			case *ast.CallExpr:
				if called(e) == "append" {
					elements = append(elements, e.Args[1:]...)
				}
			}
		}
	}
	if len(elements) == 0 || len(sep) != 1 || slices.Contains(busy, "join") {
		return nothing
	}
	texts := []evaluated{{}}
	for i, e := range elements {
		if i > 0 {
			texts = joined(texts, sep)
		}
		texts = joined(texts, g.eval(e, at, append(busy, "join")))
	}
	return texts
}
