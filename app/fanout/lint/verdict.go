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
	tables sqltext.Schema
}

// NewSchema reads statements; it skips those that do not concern tables.
func NewSchema(statements ...string) (*Schema, error) {
	s := &Schema{tables: sqltext.Schema{Lenient: true, MariaDB: true, Tables: map[string]*sqltext.Table{}}}
	for _, text := range statements {
		if _, err := s.add(text); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// add notes what a statement says of a table, and reports whether it does.
func (s *Schema) add(text string) (bool, error) {
	text = begin.ReplaceAllString(text, "")
	switch {
	case createTable.MatchString(text):
		return true, s.tables.AddTable(text)
	case addKey.MatchString(text):
		m := addKey.FindStringSubmatch(text)
		t := s.tables.Tables[strings.ToLower(m[1])]
		one := sqltext.Schema{}
		if err := one.AddTable("CREATE TABLE x (" + m[2] + ")"); err != nil || t == nil {
			return false, nil
		}
		t.Keys = append(t.Keys, one.Tables["x"].Keys...)
		return true, nil
	case createTrigger.MatchString(text):
		m := createTrigger.FindStringSubmatch(text)
		if t := s.tables.Tables[strings.ToLower(m[1])]; t != nil {
			t.Triggers = append(t.Triggers, m[2])
			return true, nil
		}
	}
	return false, nil
}

// schema reads the files named in opts, or the CREATE TABLE statements among what was found.
func (r *Report) schema(opts Options, found []statement) (*Schema, error) {
	s, _ := NewSchema()
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
		ok, err := s.add(st.text)
		if err != nil {
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s:%d: %v", st.file, st.line, err))
		} else if ok && !slices.Contains(r.Schema, st.file) {
			r.Schema = append(r.Schema, st.file)
		}
	}
	r.Tables = len(s.tables.Tables)
	if len(opts.Schema) > 0 && r.Tables == 0 {
		return nil, fmt.Errorf("no CREATE TABLE statement in %s", strings.Join(opts.Schema, ", "))
	}
	return s, nil
}

var (
	createTable   = regexp.MustCompile(`(?i)^CREATE\s+(?:OR\s+REPLACE\s+)?TABLE\s`)
	addKey        = regexp.MustCompile("(?is)^ALTER\\s+TABLE\\s+`?(\\w+)`?\\s+ADD\\s+((?:CONSTRAINT\\s+\\S+\\s+)?(?:PRIMARY|UNIQUE)\\s.*)$")
	createTrigger = regexp.MustCompile("(?is)^CREATE\\s+(?:OR\\s+REPLACE\\s+)?(?:DEFINER\\s*=\\s*\\S+\\s+)?TRIGGER\\s.*?\\sON\\s+`?(\\w+)`?\\s+FOR\\s+EACH\\s+ROW\\s+(.*)$")
)

// Judge is what a fan-out does with a statement.
func (s *Schema) Judge(text string) Finding {
	if strings.Trim(text, hole+" \n\t") == "" {
		return Finding{Verdict: Unknown, Reason: "the whole text is made at run time"}
	}
	st := sqltext.Classify(strings.ReplaceAll(text, hole, " ? "))
	v := st.Judge(&s.tables)
	switch st.Kind {
	case sqltext.Lock:
		return Finding{Verdict: Unknown, Reason: "it holds up the process that sends it, and is refused when the app has several; use a transaction with SELECT ... FOR UPDATE"}
	case sqltext.Guarded:
		return Finding{Verdict: Unknown, Reason: "it calls what may write: it runs on one replica in a read-only transaction, and fails there if it writes; write what it does as statements of the app"}
	}
	f := Finding{Verdict: Exact, Reason: v.Reason, Assumed: strings.Join(v.Assumed, ", ")}
	var why, names []string
	for _, rule := range v.Rules {
		if rule.Outcome == v.Outcome {
			names = append(names, rule.Name)
			why = append(why, rule.Why)
		}
	}
	f.Rules = strings.Join(names, ", ")
	switch v.Outcome {
	case sqltext.Refuses:
		f.Verdict = Refused
	case sqltext.Made:
		f.Verdict, f.Reason = Made, strings.Join(why, "; ")
	}
	if strings.Contains(text, hole) {
		f.open(unreadable[f.Rules])
	}
	return f
}

// open is for a text of which a part is not known: what was refused for the mark in its place is not known, too.
func (f *Finding) open(forTheMark bool) {
	switch {
	case f.Verdict == Refused && !forTheMark:
		return
	case f.Verdict == Refused:
		f.Reason = "a part of the text is made at run time"
	default:
		f.Reason = "a part of the text is made at run time; with a value in its place it is " + string(f.Verdict)
	}
	f.Verdict = Unknown
}

// unreadable are the rules that may refuse a text for the question mark that replaces an unknown part.
var unreadable = map[string]bool{"unreadable": true, "unknown table": true}
