package tune

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// groupsFile names the groups of tunings: "final = mysql/final nginx/logs-off" on a line each.
const groupsFile = "scripts/tunings.conf"

// dirs are where the files of each kind are, and how their names end.
var dirs = []struct {
	kind        Kind
	dir, suffix string
}{
	{Sysctl, "scripts/sysctl", ".conf"}, {Link, "scripts/link", ".conf"}, {Boot, "scripts/boot", ".conf"},
	{Limits, "scripts/limits", ".conf"}, {MySQL, "mysql", ".cnf"}, {Nginx, "nginx", ".conf"},
	{Envoy, "nginx/envoy", ".yaml"},
}

// Catalog is a set of tunings and of groups of them.
type Catalog struct {
	Tunings []Tuning          `json:"tunings"` // by kind, then by name
	Groups  []Group           `json:"groups"`
	files   map[string]string // file of each tuning
	text    map[string]string // of each tuning's file
}

// Group is a name for several tunings.
type Group struct {
	Name    string   `json:"name"`
	About   string   `json:"about"` // the comment above it
	Members []string `json:"members"`
}

// Load reads all tunings below scripts/, mysql/ and nginx/; files that do not begin as a tuning does are other things.
func Load(assets fs.FS) (*Catalog, error) {
	c := &Catalog{files: map[string]string{}, text: map[string]string{}}
	var faults []error
	for _, d := range dirs {
		files, err := fs.Glob(assets, d.dir+"/*"+d.suffix)
		if err != nil {
			return nil, fmt.Errorf("list tunings: %w", err)
		}
		slices.Sort(files)
		for _, file := range files {
			text, err := fs.ReadFile(assets, file)
			if err != nil {
				return nil, fmt.Errorf("read tunings: %w", err)
			}
			if !strings.HasPrefix(string(text), "# Tuning ") {
				continue
			}
			faults = append(faults, c.add(file, text, d.kind))
		}
	}
	faults = append(faults, c.loadGroups(assets))
	return c, errors.Join(faults...)
}

func (c *Catalog) add(file string, text []byte, kind Kind) error {
	t, err := Parse(file, text)
	if err != nil {
		return err
	}
	base := strings.TrimSuffix(path.Base(file), path.Ext(file))
	if kind != t.Kind || path.Base(t.Name) != base {
		return fmt.Errorf("%s: it is called %s; its name must be that of its file: %s/%s", file, t.Name, kind, base)
	}
	c.Tunings = append(c.Tunings, t)
	c.files[t.Name], c.text[t.Name] = file, string(text)
	return nil
}

func (c *Catalog) loadGroups(assets fs.FS) error {
	text, err := fs.ReadFile(assets, groupsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read groups of tunings: %w", err)
	}
	comment := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, members, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			comment = strings.TrimSpace(strings.TrimPrefix(line, "#"))
			continue
		}
		g := Group{Name: strings.TrimSpace(name), About: comment, Members: strings.Fields(members)}
		for _, m := range g.Members {
			if _, ok := c.Find(m); !ok {
				return fmt.Errorf("%s: group %s has %q, which is not a tuning", groupsFile, g.Name, m)
			}
		}
		c.Groups = append(c.Groups, g)
	}
	return nil
}

// Find returns the tuning of that name.
func (c *Catalog) Find(name string) (Tuning, bool) {
	for _, t := range c.Tunings {
		if t.Name == name {
			return t, true
		}
	}
	return Tuning{}, false
}

// Text is a tuning's file as it is, and the file's name in the repository.
func (c *Catalog) Text(name string) (file, text string) { return c.files[name], c.text[name] }

// Add puts a tuning from a user's file into the catalog; it must not have the name of another.
func (c *Catalog) Add(file string, text []byte) (Tuning, error) {
	t, err := Parse(file, text)
	if err != nil {
		return Tuning{}, err
	}
	if _, ok := c.Find(t.Name); ok {
		return Tuning{}, fmt.Errorf("%s: there is a tuning %s already", file, t.Name)
	}
	c.Tunings = append(c.Tunings, t)
	c.files[t.Name], c.text[t.Name] = file, string(text)
	return t, nil
}

// Resolve replaces groups by their members, without duplicates, in order. All unknown names are reported together.
func (c *Catalog) Resolve(names []string) ([]Tuning, error) {
	var list []Tuning
	var faults []error
	add := func(name string) bool {
		t, ok := c.Find(name)
		if ok && !slices.ContainsFunc(list, func(o Tuning) bool { return o.Name == name }) {
			list = append(list, t)
		}
		return ok
	}
	for _, name := range names {
		if i := slices.IndexFunc(c.Groups, func(g Group) bool { return g.Name == name }); i >= 0 {
			for _, m := range c.Groups[i].Members {
				add(m)
			}
		} else if !add(name) {
			faults = append(faults, fmt.Errorf("tuning %q does not exist", name))
		}
	}
	return list, errors.Join(faults...)
}
