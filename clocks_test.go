package isukit_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// A test judges by counts and conditions: a machine may be slow, or busy with other work. CONTRIBUTING.md says the rule; what is
// found here are the usual ways to break it. A line that looks like one and is none says why in a comment: "// clock: why".
const excuse = "// clock: "

// TestTestsDoNotJudgeByTheClock looks at every test, and at the packages that tests are made of.
func TestTestsDoNotJudgeByTheClock(t *testing.T) {
	eachSource(t, func(file, _ string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if isTest := strings.HasSuffix(file, "_test.go"); isTest || strings.Contains(string(text), "\n\t\"testing\"\n") {
			for _, fault := range clockFaults(t, file, text) {
				t.Errorf("%s: CONTRIBUTING.md says what a test does instead", fault)
			}
		}
	})
}

// TestClockFaults holds the rule against what breaks it, and against what looks like that.
func TestClockFaults(t *testing.T) {
	for body, want := range map[string]int{
		`if time.Since(began) > time.Second { t.Error() }`:                                           1,
		`took := time.Since(began); if took > limit { t.Error() }`:                                   1,
		`if d := time.Now().Sub(began); d > limit { t.Error() }`:                                     1,
		`share := time.Since(began).Seconds() / n; if 0.05 < share { t.Error() }`:                    1,
		`for time.Now().Before(deadline) { time.Sleep(1) }`:                                          1,
		`for deadline := x; !ok(); { if time.Now().After(deadline) { t.Fatal() } }`:                  1,
		`var u syscall.Rusage; use(u)`:                                                               1,
		`if cmd.ProcessState.UserTime() > limit { t.Error() }`:                                       1,
		`took := time.Since(began); t.Logf("%v", took)`:                                              0,
		`if a.End.Sub(a.Start) > limit { t.Error() }`:                                                0,
		"if time.Since(began) < rest { t.Error() } " + excuse + "at least: a slow machine only adds": 0,
		"if time.Since(began) > rest { t.Error() } // clock:":                                        1,
		`select { case <-done: case <-time.After(5 * time.Second): t.Fatal() }`:                      1,
		`select { case <-done: case <-time.After(wait.Limit): t.Fatal() }`:                           0,
	} {
		text := "package a\nfunc TestA(t *testing.T) {\n" + body + "\n}\nfunc BenchmarkA(b *testing.B) { if time.Since(began) > 1 { b.Log(syscall.Rusage{}) } }\n"
		if got := clockFaults(t, "a_test.go", []byte(text)); len(got) != want {
			t.Errorf("%s: got %q, want %d", body, got, want)
		}
	}
}

// clockFaults are the lines of a file, outside of benchmarks, that compare what a clock says or read CPU time.
func clockFaults(t *testing.T, file string, text []byte) (faults []string) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	excused := map[int]bool{}
	for _, group := range f.Comments {
		for _, c := range group.List {
			if why, ok := strings.CutPrefix(c.Text, excuse); ok && strings.TrimSpace(why) != "" {
				excused[fset.Position(c.Pos()).Line] = true
			}
		}
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil || isBenchmark(fn) {
			continue
		}
		for _, pos := range clockLines(fn.Body) {
			if at := fset.Position(pos); !excused[at.Line] {
				faults = append(faults, fmt.Sprintf("%s:%d: %s", at.Filename, at.Line, strings.TrimSpace(strings.Split(string(text), "\n")[at.Line-1])))
			}
		}
	}
	return slices.Compact(faults)
}

// isBenchmark tells whether a function takes a *testing.B.
func isBenchmark(fn *ast.FuncDecl) bool {
	return slices.ContainsFunc(fn.Type.Params.List, func(p *ast.Field) bool {
		star, ok := p.Type.(*ast.StarExpr)
		if !ok {
			return false
		}
		s, ok := star.X.(*ast.SelectorExpr)
		return ok && s.Sel.Name == "B"
	})
}

// clockLines finds comparisons with a time that went by, polling by hand, limits of seconds, and CPU time.
func clockLines(body ast.Node) (found []token.Pos) {
	measured := map[string]bool{} // variables with what a clock said
	fromClock := func(e ast.Expr) bool { return readsClock(e, measured) }
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, e := range n.Rhs {
				if name, ok := n.Lhs[min(i, len(n.Lhs)-1)].(*ast.Ident); ok && fromClock(e) {
					measured[name.Name] = true
				}
			}
		case *ast.BinaryExpr:
			if slices.Contains([]token.Token{token.LSS, token.GTR, token.LEQ, token.GEQ}, n.Op) && (fromClock(n.X) || fromClock(n.Y)) {
				found = append(found, n.Pos())
			}
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "Before" || s.Sel.Name == "After") && isCall(s.X, "time", "Now") {
				found = append(found, n.Pos())
			}
		case *ast.CommClause:
			if recv, ok := n.Comm.(*ast.ExprStmt); ok && waitsForSeconds(recv.X) {
				found = append(found, n.Pos())
			}
		case *ast.SelectorExpr:
			if slices.Contains([]string{"Rusage", "UserTime", "SystemTime"}, n.Sel.Name) {
				found = append(found, n.Pos())
			}
		}
		return true
	})
	return found
}

// readsClock tells whether an expression has time.Since in it, time.Now().Sub, or a variable that had.
func readsClock(e ast.Expr, measured map[string]bool) (found bool) {
	fields := map[*ast.Ident]bool{}
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.Ident:
			found = found || measured[n.Name] && !fields[n]
		case *ast.SelectorExpr:
			fields[n.Sel] = true
			found = found || n.Sel.Name == "Sub" && isCall(n.X, "time", "Now")
		case *ast.CallExpr:
			found = found || isCall(n, "time", "Since")
		}
		return true
	})
	return found
}

func isCall(e ast.Node, pkg, name string) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}

// waitsForSeconds tells whether an expression is <-time.After of less than a minute.
func waitsForSeconds(e ast.Expr) bool {
	recv, ok := e.(*ast.UnaryExpr)
	if !ok || !isCall(recv.X, "time", "After") {
		return false
	}
	seconds := false
	ast.Inspect(recv.X, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		seconds = seconds || ok && s.Sel.Name == "Second"
		return true
	})
	return seconds
}
