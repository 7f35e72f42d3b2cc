package lint

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// Schema is what CREATE TABLE statements say of the tables. A table that it lacks is taken to have nothing special.
type Schema struct {
	tables map[string]properties // by name in lower case
}

// properties are what a table's definition adds to a statement.
type properties struct{ numbers, clock bool }

// NewSchema reads statements; those that say nothing of tables are passed over.
func NewSchema(statements ...string) *Schema {
	s := &Schema{tables: map[string]properties{}}
	for _, text := range statements {
		s.add(text)
	}
	return s
}

// add notes what a statement says of a table, and reports whether it does.
func (s *Schema) add(text string) bool {
	m := definition.FindStringSubmatch(begin.ReplaceAllString(text, ""))
	if m == nil {
		return false
	}
	name := strings.ToLower(m[2] + m[3])
	trigger := m[3] != ""
	had := s.tables[name]
	s.tables[name] = properties{
		numbers: had.numbers || trigger || numbered.MatchString(text),
		clock:   had.clock || trigger || readsClock.MatchString(text),
	}
	return true
}

var (
	definition = regexp.MustCompile("(?is)^CREATE\\s+(?:OR\\s+REPLACE\\s+)?(?:DEFINER\\s*=\\s*\\S+\\s+)?(?:(TABLE)\\s+(?:IF\\s+NOT\\s+EXISTS\\s+)?(?:`?\\w+`?\\.)?`?(\\w+)`?" +
		"|TRIGGER\\s.*?\\sON\\s+`?(\\w+)`?\\s+FOR\\s+EACH\\s+ROW\\s)")
	numbered   = regexp.MustCompile(`(?i)\bAUTO_INCREMENT\b\s*(?:[^=\s]|$)|\bSERIAL\b`)
	readsClock = regexp.MustCompile(`(?i)\b(?:CURRENT_TIMESTAMP|CURRENT_DATE|CURRENT_TIME|NOW|LOCALTIME|LOCALTIMESTAMP|CURDATE|CURTIME|UTC_\w+|UNIX_TIMESTAMP)\b`)
)

// schema reads the files named in opts, or the definitions among what was found.
func (r *Report) schema(opts Options, found []statement) (*Schema, error) {
	s := NewSchema()
	if len(opts.Schema) > 0 {
		found = nil
		for _, path := range opts.Schema {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			found = append(found, sqlStatements(source{path, string(text)})...)
		}
	}
	for _, st := range found {
		if s.add(st.text) && !slices.Contains(r.Schema, st.file) {
			r.Schema = append(r.Schema, st.file)
		}
	}
	r.Tables = len(s.tables)
	if len(opts.Schema) > 0 && r.Tables == 0 {
		return nil, fmt.Errorf("no CREATE TABLE statement in %s", strings.Join(opts.Schema, ", "))
	}
	return s, nil
}

// Judge says what a fan-out does with a statement.
func (s *Schema) Judge(text string) Finding {
	if strings.Trim(text, hole+" \n\t") == "" {
		return Finding{Verdict: Unknown, Reason: "the whole text is made at run time"}
	}
	st := sqltext.Classify(strings.ReplaceAll(text, hole, " ? "))
	f := Finding{Verdict: Exact}
	switch st.Kind {
	case sqltext.Refused:
		f.Verdict, f.Reason = Refused, st.Reason
	case sqltext.Write:
		f = s.write(st)
	}
	if strings.Contains(text, hole) && f.Verdict != Refused {
		f.Reason = "a part of the text is made at run time; with a value in its place it is " + string(f.Verdict)
		f.Verdict = Unknown
	}
	return f
}

// write is Judge for what changes rows.
func (s *Schema) write(st *sqltext.Statement) Finding {
	var lacks, why []string
	var has properties
	for _, name := range st.Tables {
		t, ok := s.tables[name]
		if !ok {
			lacks = append(lacks, name)
		}
		has.clock = has.clock || t.clock
		has.numbers = has.numbers || t.numbers && name == st.Tables[0]
	}
	f := Finding{Verdict: Exact, Assumed: strings.Join(lacks, ", ")}
	switch {
	case st.Call:
		return Finding{Verdict: Unknown, Reason: "what a procedure does cannot be seen"}
	case st.Inserts && st.Reads && !st.Sorted && has.numbers:
		f.Verdict, f.Reason = Refused, "INSERT ... SELECT without ORDER BY numbers the rows differently on each replica; add an ORDER BY on a unique key"
		return f
	}
	if st.Time || has.clock {
		why = append(why, "the clock is stopped at one time for all replicas")
	}
	if st.LastID {
		why = append(why, "the first replica's LAST_INSERT_ID() is set on the others")
	}
	if st.Inserts && has.numbers {
		why = append(why, "the id that the first replica generates is set on the others")
	}
	if len(why) > 0 {
		f.Verdict, f.Reason = Made, strings.Join(why, "; ")
	}
	return f
}

// split cuts a text at its semicolons, outside of quotes and comments. Empty parts are left out.
func split(text string) (parts []string) {
	from := 0
	for _, m := range append(pieces.FindAllStringIndex(text, -1), []int{len(text), len(text)}) {
		if m[1] > m[0] && text[m[0]:m[1]] != ";" {
			continue
		}
		if part := strings.TrimSpace(text[from:m[0]]); part != "" {
			parts = append(parts, part)
		}
		from = m[1]
	}
	return parts
}

var pieces = regexp.MustCompile(`(?s)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|` + "`[^`]*`" + `|--[^\n]*|#[^\n]*|/\*.*?\*/|;`)
