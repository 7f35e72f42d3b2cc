// Package lint reads an app's sources and SQL files and says of every statement in them, before anybody runs it, whether a
// fan-out executes it with the same effect on all replicas, makes it so, or refuses it. It sees texts that stand in the sources:
// literals, constants, what is put together of them, and the shapes of fmt.Sprintf. What an object-relational mapper makes is not
// seen, and what depends on the moment is named as such.
package lint

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Verdict is what a fan-out does with a statement.
type Verdict string

// The verdicts.
const (
	Exact   Verdict = "exact"                   // sent as it is
	Made    Verdict = "made exact"              // what the servers would compute alone is computed once and sent
	Refused Verdict = "refused"                 // not executed: the reason suggests what to write instead
	Unknown Verdict = "not known until it runs" // a part of the text is made at run time
)

// Finding is a statement and its verdict.
type Finding struct {
	File      string  `json:"file"`
	Line      int     `json:"line"`
	Statement string  `json:"statement"` // blanks are one space each, parts that are not known are …
	Verdict   Verdict `json:"verdict"`
	Rules     string  `json:"rules,omitempty"`   // the names of the rules behind the verdict
	Reason    string  `json:"reason,omitempty"`  // why; for Refused with what to write instead
	Assumed   string  `json:"assumed,omitempty"` // tables that the schema lacks, taken to have nothing special
	Same      int     `json:"same,omitempty"`    // further statements of a SQL file that differ by their values only
}

// Report is what Paths found.
type Report struct {
	Files    int       `json:"files"`   // that were read
	Tables   int       `json:"tables"`  // of the schema
	Schema   []string  `json:"schema"`  // files that it was read from
	Skipped  []string  `json:"skipped"` // files that were not read, each with the reason
	Findings []Finding `json:"statements"`
}

// Options are how Paths reads.
type Options struct {
	Schema []string // files with CREATE TABLE statements; empty: those found among what is read
	Tests  bool     // read _test.go files, too
}

// Count is the number of statements with a verdict.
func (r *Report) Count(v Verdict) (n int) {
	for _, f := range r.Findings {
		if f.Verdict == v {
			n += 1 + f.Same
		}
	}
	return n
}

// maxFileBytes bounds the files that are read: larger ones are data.
const maxFileBytes = 8 << 20

// source is a file that was read.
type source struct {
	path string
	text string
}

// Paths reads files and, below directories, every file whose ending is known.
func Paths(ctx context.Context, paths []string, opts Options) (*Report, error) {
	r := &Report{Skipped: []string{}, Schema: []string{}, Findings: []Finding{}}
	var files []source
	for _, p := range paths {
		found, err := r.collect(ctx, p, opts)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	r.Files = len(files)
	var all []statement
	packages := map[string][]source{}
	for _, f := range files {
		switch ext := filepath.Ext(f.path); ext {
		case ".go":
			packages[filepath.Dir(f.path)] = append(packages[filepath.Dir(f.path)], f)
		case ".sql":
			all = append(all, sqlStatements(f)...)
		default:
			all = append(all, otherStatements(f, languages[ext])...)
		}
	}
	for _, list := range packages {
		found, err := goStatements(list)
		if err != nil {
			r.Skipped = append(r.Skipped, err.Error())
		}
		all = append(all, found...)
	}
	s, err := r.schema(opts, all)
	if err != nil {
		return nil, err
	}
	r.judge(all, s)
	return r, nil
}

// collect reads what is at path.
func (r *Report) collect(ctx context.Context, path string, opts Options) (files []source, err error) {
	given := path
	err = filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && path != given && skippedDirs[d.Name()]:
			return filepath.SkipDir
		case d.IsDir(), !d.Type().IsRegular(), !known(path), strings.HasSuffix(path, "_test.go") && !opts.Tests && path != given:
			return nil
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if st.Size() > maxFileBytes {
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: %d MiB is more than %d", path, st.Size()>>20, maxFileBytes>>20))
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files = append(files, source{path, string(text)})
		return nil
	})
	return files, err
}

var skippedDirs = map[string]bool{".git": true, "node_modules": true, "vendor": true, "testdata": true, "target": true, "__pycache__": true}

func known(path string) bool {
	ext := filepath.Ext(path)
	return ext == ".go" || ext == ".sql" || languages[ext] != nil
}

// statement is a text found in a source, with a hole for each part that is not known.
type statement struct {
	file string
	line int
	text string
	same int
}

// hole replaces a part of a text that is unknown; no source contains it.
const hole = "\uE000"

// judge adds the findings, in the order of the files.
func (r *Report) judge(all []statement, s *Schema) {
	for _, st := range all {
		f := s.Judge(st.text)
		f.File, f.Line, f.Same = st.file, st.line, st.same
		f.Statement = strings.ReplaceAll(strings.Join(strings.Fields(st.text), " "), hole, "…")
		r.Findings = append(r.Findings, f)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	r.Findings = slices.CompactFunc(r.Findings, func(a, b Finding) bool {
		return a.File == b.File && a.Line == b.Line && a.Statement == b.Statement
	})
}

// String lists the statements, what is to be done about each below it, and ends with the counts.
func (r *Report) String() string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s:%d: %s: %s\n", f.File, f.Line, f.Verdict, shortened(f.Statement))
		if f.Same > 0 {
			fmt.Fprintf(&b, "    and %d more that differ by their values only\n", f.Same)
		}
		if f.Reason != "" {
			fmt.Fprintf(&b, "    %s\n", f.Reason)
		}
		if f.Assumed != "" && f.Verdict != Refused {
			fmt.Fprintf(&b, "    the schema that was read has no table %s\n", f.Assumed)
		}
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "not read: %s\n", s)
	}
	fmt.Fprintf(&b, "%d statements in %d files: %d %s, %d %s, %d %s, %d %s\n", r.Count(Exact)+r.Count(Made)+r.Count(Refused)+r.Count(Unknown), r.Files,
		r.Count(Exact), Exact, r.Count(Made), Made, r.Count(Refused), Refused, r.Count(Unknown), Unknown)
	if r.Tables == 0 {
		fmt.Fprintln(&b, "no CREATE TABLE statement was found: tables are taken to have nothing special")
	} else {
		fmt.Fprintf(&b, "the schema has %d tables, from %s\n", r.Tables, strings.Join(r.Schema, ", "))
	}
	return b.String()
}

// shortened is text as one line of a terminal shows it.
func shortened(text string) string {
	if runes := []rune(text); len(runes) > 160 {
		return string(runes[:157]) + "..."
	}
	return text
}
