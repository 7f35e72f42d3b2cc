package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is a line of go test -json, see "go doc test2json" and, of builds, "go help buildjson".
type event struct {
	Action, Package, ImportPath, Test, Output string

	Elapsed float64 // seconds
}

type key struct{ pkg, test string }

// printer prints what go test prints without -v: what failed, with its output, and a line for each package.
type printer struct {
	to     io.Writer
	output map[key][]string // of tests that have not ended
	took   map[key]float64
}

func newPrinter(to io.Writer) *printer {
	return &printer{to, map[key][]string{}, map[key]float64{}}
}

func (p *printer) read(from io.Reader) error {
	for r := bufio.NewReader(from); ; {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				e = event{Action: "build-output", Output: string(line)} // of go itself
			}
			p.take(e)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what go test says: %w", err)
		}
	}
}

func (p *printer) take(e event) {
	k := key{e.Package, e.Test}
	switch {
	case e.Action == "build-output":
		p.print(e.Output)
	case e.Action == "output" && e.Test != "":
		p.output[k] = append(p.output[k], e.Output)
	case e.Action == "output" && e.Output != "PASS\n":
		p.print(e.Output)
	case e.Test != "" && slices.Contains([]string{"pass", "fail", "skip"}, e.Action):
		p.took[k] = e.Elapsed
		if e.Action == "fail" {
			p.flush(k)
		}
		delete(p.output, k)
	case e.Action == "fail": // a package, perhaps in the middle of tests
		for k := range p.output {
			if k.pkg == e.Package {
				p.flush(k)
				delete(p.output, k)
			}
		}
	}
}

// flush prints the output of a test without what tells when tests go on.
func (p *printer) flush(k key) {
	for _, line := range p.output[k] {
		if !strings.HasPrefix(line, "=== ") {
			p.print(line)
		}
	}
}

func (p *printer) print(text string) {
	fmt.Fprint(p.to, text) // a terminal that went away is nothing to end the tests for
}

// slowest prints the n tests that took longest, those with subtests left out. Parallel tests wait for one another.
func (p *printer) slowest(n int) {
	parents := map[key]bool{}
	for k := range p.took {
		if i := strings.LastIndexByte(k.test, '/'); i > 0 {
			parents[key{k.pkg, k.test[:i]}] = true
		}
	}
	var list []key
	for k := range p.took {
		if !parents[k] {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b key) int {
		return cmp.Or(cmp.Compare(p.took[b], p.took[a]), strings.Compare(a.pkg+a.test, b.pkg+b.test))
	})
	p.print(fmt.Sprintf("the slowest of %d tests:\n", len(list)))
	for _, k := range list[:min(n, len(list))] {
		p.print(fmt.Sprintf("%8.1f s  %s %s\n", p.took[k], strings.TrimPrefix(k.pkg, "isukit/"), k.test))
	}
}
