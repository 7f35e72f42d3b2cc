package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"isukit/infra/engine/mysql"
)

// statementsOf asks a database's performance schema for statements with JSON_CONTAINS; none where it is off.
func statementsOf(ctx context.Context, q mysql.Querier) []Statement {
	rows, err := q.Query(ctx, "SELECT DIGEST_TEXT, COUNT_STAR, SUM_ERRORS, SUM_WARNINGS FROM performance_schema.events_statements_summary_by_digest WHERE DIGEST_TEXT LIKE '%JSON_CONTAINS%'")
	if err != nil {
		return nil // switched off, or not for this account: nothing is known
	}
	var list []Statement
	for _, row := range rows {
		list = append(list, Statement{Text: row[0], Count: number(row[1]), Errors: number(row[2]), Warnings: number(row[3])})
	}
	return list
}

const quoteFix = "JSON_CONTAINS(col, JSON_QUOTE(?))   # or give it a JSON document: json.Marshal(value), CAST(? AS JSON)"

// jsonContains finds calls whose second argument is not JSON: error 3141 on MySQL, an empty result with a warning on MariaDB.
func jsonContains(o *Observed, add func(Finding)) {
	statements := slices.Clone(o.Statements)
	o.databases(func(h Host, d Database) {
		for _, s := range d.Statements {
			s.Host = h.Name
			statements = append(statements, s)
		}
	})
	for _, s := range statements {
		for _, arg := range secondArguments(s.Text) {
			seen := s.fault(arg)
			if seen == "" {
				continue
			}
			add(Finding{Severity: Crit, Host: s.Host, Subject: short(s.Text, 80), Fix: quoteFix,
				Seen: fmt.Sprintf("%s (%d times): MySQL says error 3141, MariaDB finds no row and says nothing", seen, s.Count)})
			break
		}
	}
	for _, f := range o.Files {
		jsonContainsIn(f, add)
	}
}

// fault is what is wrong with the second argument of JSON_CONTAINS in a statement, or "".
func (s Statement) fault(arg string) string {
	text, literal := sqlString(arg)
	switch {
	case literal && json.Valid([]byte(text)):
		return ""
	case literal:
		return fmt.Sprintf("the second argument of JSON_CONTAINS is %s, which is not JSON", short(arg, 40))
	case arg == "?" && !s.Example && s.Errors > 0:
		return fmt.Sprintf("%d of its calls ended with an error, and its second argument is not quoted with JSON_QUOTE", s.Errors)
	case arg == "?" && !s.Example && s.Warnings > 0:
		return fmt.Sprintf("its calls gave %d warnings, and its second argument is not quoted with JSON_QUOTE", s.Warnings)
	}
	return ""
}

// jsonContainsIn finds calls with a bare placeholder in a source.
func jsonContainsIn(f File, add func(Finding)) {
	if !hasSuffix(f.Path, ".go", ".sql", ".rb", ".py", ".js", ".ts", ".php", ".rs", ".pl", ".java") {
		return
	}
	text := string(f.Text)
	for _, at := range containsExpr.FindAllStringIndex(text, -1) {
		args := arguments(text[at[1]:])
		if len(args) < 2 {
			continue
		}
		literal, is := sqlString(args[1])
		placeholder := args[1] == "?" || strings.HasPrefix(args[1], ":") || strings.HasPrefix(args[1], "%s") || strings.HasPrefix(args[1], "$")
		if !placeholder && (!is || json.Valid([]byte(literal))) {
			continue
		}
		add(Finding{Severity: Warn, Subject: place(f, at[0]), Fix: quoteFix,
			Seen: fmt.Sprintf("JSON_CONTAINS gets %s, which is a JSON document only where the app makes it one", args[1])})
	}
}

var containsExpr = regexp.MustCompile("(?i)\\bJSON_CONTAINS`?\\s*\\(") // MySQL's digests have it as `JSON_CONTAINS` (

func secondArguments(statement string) []string {
	var list []string
	for _, at := range containsExpr.FindAllStringIndex(statement, -1) {
		if args := arguments(statement[at[1]:]); len(args) > 1 {
			list = append(list, args[1])
		}
	}
	return list
}

// arguments splits the text after the opening parenthesis of a call, up to its closing one.
func arguments(text string) []string {
	var args []string
	depth, begin := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\'', '"', '`':
			for i++; i < len(text) && text[i] != c; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '(':
			depth++
		case ')', ',':
			if depth == 0 {
				args = append(args, strings.TrimSpace(text[begin:i]))
				begin = i + 1
			}
			if c == ')' {
				if depth == 0 {
					return args
				}
				depth--
			}
		}
	}
	return nil
}

func sqlString(arg string) (text string, is bool) {
	if len(arg) < 2 || arg[0] != '\'' && arg[0] != '"' || arg[len(arg)-1] != arg[0] {
		return "", false
	}
	quote := arg[:1]
	return strings.NewReplacer(quote+quote, quote, `\`+quote, quote, `\\`, `\`).Replace(arg[1 : len(arg)-1]), true
}

func short(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "..."
	}
	return text
}

func hasSuffix(name string, suffixes ...string) bool {
	for _, s := range suffixes {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}

func place(f File, offset int) string {
	return fmt.Sprintf("%s:%d", f.Path, 1+strings.Count(string(f.Text[:min(offset, len(f.Text))]), "\n"))
}
