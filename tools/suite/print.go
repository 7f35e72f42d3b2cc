package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

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
	cpu    map[key]float64 // of packages, in seconds
}

// cpuMark begins the line with the seconds of CPU time that a package's tests took.
const cpuMark = "suite: CPU "

func newPrinter(to io.Writer) *printer {
	return &printer{to, map[key][]string{}, map[key]float64{}, map[key]float64{}}
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
	case e.Action == "output" && strings.HasPrefix(e.Output, cpuMark):
		p.cpu[key{pkg: e.Package}], _ = strconv.ParseFloat(strings.TrimSpace(e.Output[len(cpuMark):]), 64)
	case e.Action == "output" && e.Test != "":
		p.output[k] = append(p.output[k], e.Output)
	case e.Action == "output" && e.Output != "PASS\n":
		p.print(e.Output)
	case slices.Contains([]string{"pass", "fail", "skip"}, e.Action):
		p.took[k] = e.Elapsed
		for of := range p.output {
			if of != k && (of.pkg != k.pkg || k.test != "") {
				continue
			}
			if e.Action == "fail" { // perhaps a package in the middle of tests
				p.flush(of)
			}
			delete(p.output, of)
		}
	}
}

// flush prints the output of a test, without the marks that tests continue.
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
	tests := map[key]float64{}
	for k, took := range p.took {
		if k.test != "" {
			tests[k] = took
		}
	}
	for k := range p.took {
		if i := strings.LastIndexByte(k.test, '/'); i > 0 {
			delete(tests, key{k.pkg, k.test[:i]})
		}
	}
	p.print(fmt.Sprintf("the slowest of %d tests:\n", len(tests)))
	for _, k := range most(tests, n) {
		p.print(fmt.Sprintf("%8.1f s  %s\n", tests[k], k))
	}
}

// busiest prints the n packages that took most CPU time, each with how long it took.
func (p *printer) busiest(n int) {
	p.print("CPU time, and time, of packages:\n")
	for _, k := range most(p.cpu, n) {
		p.print(fmt.Sprintf("%8.1f s %8.1f s  %s\n", p.cpu[k], p.took[k], k))
	}
}

func most(of map[key]float64, n int) []key {
	list := slices.SortedFunc(maps.Keys(of), func(a, b key) int {
		return cmp.Or(cmp.Compare(of[b], of[a]), strings.Compare(a.pkg+a.test, b.pkg+b.test))
	})
	return list[:min(n, len(list))]
}

func (k key) String() string {
	return strings.TrimSpace(strings.TrimPrefix(k.pkg, "isukit/") + " " + k.test)
}
