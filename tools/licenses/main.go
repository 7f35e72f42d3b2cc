// Command licenses lists the modules that are linked into isukit's binaries with their licences, for docs/licenses.md. It runs in tools/
// with the path of the repository as its argument, prints the page, and fails on a licence that it does not know.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "licenses: error:", err)
		os.Exit(1)
	}
}

type module struct {
	path, version, dir string
	binaries           []string
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("want the repository's path")
	}
	modules := map[string]*module{}
	for _, binary := range []string{"isukit", "isukit-app"} {
		if err := addLinked(modules, args[0], binary); err != nil {
			return err
		}
	}
	list := make([]*module, 0, len(modules))
	for _, m := range modules {
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *module) int { return cmp.Compare(a.path, b.path) })
	var page bytes.Buffer
	page.WriteString(head)
	for _, m := range list {
		licence, err := licenceOf(m.dir)
		if err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", m.path, m.version, licence, strings.Join(m.binaries, ", "))
	}
	_, err := os.Stdout.Write(page.Bytes())
	return err
}

const head = `# Licences of what is linked in

isukit is under the MIT licence ([LICENSE](../LICENSE)). Its binaries hold code of these modules, besides Go's own standard library
(BSD-3-Clause). ` + "`make licenses`" + ` writes this page, and ` + "`make check`" + ` fails when it is not what go.mod says.

| module | version | licence | in |
|---|---|---|---|
`

// addLinked adds the modules that a binary is linked from; app/fanout, which go.mod replaces by its folder, is of this repository.
func addLinked(modules map[string]*module, root, binary string) error {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not (or .Main .Replace)}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/"+binary)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("list what %s is linked from: %w", binary, err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			continue
		}
		m := modules[fields[0]]
		if m == nil {
			m = &module{path: fields[0], version: fields[1], dir: fields[2]}
			modules[m.path] = m
		}
		if !slices.Contains(m.binaries, binary) {
			m.binaries = append(m.binaries, binary)
		}
	}
	return nil
}

// marks are words by which a licence is known, the most telling first.
var marks = []struct{ name, words string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License, version 2.0"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose"},
	{"BSD-3-Clause", "Neither the name of"},
	{"BSD-3-Clause", "endorse or promote products derived from this software without specific prior written permission"},
	{"BSD-2-Clause", "Redistribution and use in source and binary forms"},
	{"CC0-1.0", "CC0 1.0 Universal"},
	{"Unlicense", "This is free and unencumbered software released into the public domain"},
}

// licenceOf reads the licence files of a module's root; several licences are joined by " and ".
func licenceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var names []string
	for _, e := range entries {
		upper := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(upper, "LICEN") && !strings.HasPrefix(upper, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		words := strings.Join(strings.Fields(string(text)), " ")
		for _, m := range marks {
			known := slices.Contains(names, m.name) || m.name == "BSD-2-Clause" && slices.Contains(names, "BSD-3-Clause")
			if strings.Contains(words, m.words) && !known {
				names = append(names, m.name)
			}
		}
	}
	if len(names) == 0 {
		return "", errors.New("its licence is not known: read it, and add what it is known by to marks")
	}
	return strings.Join(names, " and "), nil
}
