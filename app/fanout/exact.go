package fanout

import (
	"database/sql/driver"
	"slices"
	"strings"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// keys are what tells the rows of a table apart.
type keys struct {
	unique [][]string        // the columns of each unique key, lower case
	kinds  map[string]string // of a column: "number" for whole numbers, "string"; others are left out
	simple bool              // the table has no trigger, and all that is said of its keys was understood
}

// keysOf reads what describe said of a table.
func keysOf(lines []string) keys {
	k := keys{kinds: map[string]string{}, simple: true}
	unique := map[string][]string{}
	for _, line := range lines {
		f := strings.Fields(strings.ToLower(line))
		switch {
		case f[0] == "trigger":
			k.simple = false
		case f[0] == "column" && len(f) > 3: // column NAME POSITION TYPE
			k.kinds[f[1]] = kindOf(f[3], f[4:])
		case f[0] == "index" && len(f) != 6: // a name with a blank
			k.simple = false
		case f[0] == "index" && f[4] == "0": // index NAME POSITION COLUMN NON_UNIQUE PREFIX
			column := f[3]
			if f[5] != "0" {
				column = "" // no column has that name
			}
			unique[f[1]] = append(unique[f[1]], column)
		}
	}
	for _, columns := range unique {
		k.unique = append(k.unique, columns)
	}
	return k
}

// kindOf leaves out strings of other character sets than Unicode's: what they can't hold is compared by other rules than theirs.
func kindOf(columnType string, more []string) string {
	base, _, _ := strings.Cut(columnType, "(")
	switch base {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return "number"
	case "binary", "varbinary":
		return "string"
	case "char", "varchar":
		if slices.ContainsFunc(more, func(s string) bool { return strings.HasPrefix(s, "utf8") }) {
			return "string"
		}
	}
	return ""
}

// pick reports whether the equalities can be true of one row only, with the arguments given: they name all columns of a
// unique key, each by a value of the column's own kind, since the servers compare others by other rules than the key's.
func (k keys) pick(equals []sqltext.Equal, args []driver.NamedValue) bool {
	var named []string
	for _, e := range equals {
		if kind := k.kinds[e.Column]; kind != "" && kind == valueKind(e, args) {
			named = append(named, e.Column)
		}
	}
	return slices.ContainsFunc(k.unique, func(columns []string) bool {
		return !slices.ContainsFunc(columns, func(c string) bool { return !slices.Contains(named, c) })
	})
}

func valueKind(e sqltext.Equal, args []driver.NamedValue) string {
	if e.Arg < 0 {
		if e.Number {
			return "number"
		}
		return "string"
	}
	if e.Arg >= len(args) {
		return ""
	}
	switch args[e.Arg].Value.(type) {
	case int64, uint64, int, int8, int16, int32, uint, uint8, uint16, uint32, bool:
		return "number"
	case string, []byte:
		return "string"
	}
	return ""
}

// exact reports whether q, which the first replica executed with answer a, must find the same rows on the others although
// it runs without gap locks there: it inserted rows that it gives itself, or changed the one row that it names by a unique key.
// The first replica holds the locks on these. Whoever has changed one of them before has committed there, so it has
// executed on the others as well, and what it holds there it is about to let go.
func (p *group) exact(q call, a answer) bool {
	if !q.st.Rows && len(q.st.Equals) == 0 || q.st.Call {
		return false
	}
	t, ok := p.schema.Load().tables[q.st.Tables[0]]
	if !ok || !t.keys.simple {
		return false
	}
	if q.st.Rows {
		return a.affected > 0
	}
	return a.affected == 1 && t.keys.pick(q.st.Equals, q.args)
}
