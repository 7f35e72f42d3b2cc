package nginx

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/host"
)

// Config is the configuration of an nginx: its main file with those that it includes, as one tree.
type Config struct {
	Main  string
	Files map[string]string // texts, by path
	Tree  []Directive       // what is included is in the place of its "include"

	includes map[string][]string // files, by the pattern of an include
}

// Bounds of what Load reads.
const (
	maxFiles      = 500
	maxFileBytes  = 1_000_000 // of which engine.ReadFiles returns no more
	maxTotalBytes = 8 << 20
)

// usual are a main file and what most include: one question answers for all of them.
func usual(main string) []string {
	paths := []string{main}
	for _, pattern := range []string{"mime.types", "modules-enabled/*.conf", "conf.d/*.conf", "sites-enabled/*"} {
		paths = append(paths, path.Join(path.Dir(main), pattern))
	}
	return paths
}

// LoadOp is what Load asks a host first.
func LoadOp(main string) host.Op { return engine.FilesOp(usual(main)) }

// Load reads the configuration of a host whose main file is main. It need not be one that nginx takes.
func Load(ctx context.Context, h host.Host, main string) (*Config, error) {
	c := &Config{Main: main, Files: map[string]string{}, includes: map[string][]string{}}
	asked := usual(main)
	first, err := engine.ReadFiles(ctx, h, asked)
	if err != nil {
		return nil, err
	}
	next := []string{main}
	for total := 0; len(next) > 0; {
		files := first
		if more := slices.DeleteFunc(slices.Clone(next), func(p string) bool { return slices.Contains(asked, p) }); len(more) > 0 {
			found, err := engine.ReadFiles(ctx, h, more)
			if err != nil {
				return nil, err
			}
			files = append(slices.Clone(first), found...)
		}
		for _, f := range files {
			included := false
			for _, pattern := range next {
				ok, err := path.Match(pattern, f.Path)
				if (err == nil && ok || pattern == f.Path) && !slices.Contains(c.includes[pattern], f.Path) {
					c.includes[pattern], included = append(c.includes[pattern], f.Path), true
				}
			}
			if !included || f.Real == "" {
				continue // a link that leads nowhere: nginx tells
			}
			c.Files[f.Path] = f.Text
			if total += len(f.Text); len(f.Text) >= maxFileBytes || total > maxTotalBytes || len(c.Files) > maxFiles {
				return nil, fmt.Errorf("the configuration %s is too large: %s has %d bytes, at most %d files of %d bytes are read", main, f.Path, len(f.Text), maxFiles, maxFileBytes)
			}
		}
		if len(c.Files) == 0 {
			return nil, fmt.Errorf("nginx's configuration %s cannot be read", main)
		}
		if next, err = c.patterns(); err != nil {
			return nil, err
		}
	}
	return c, c.build()
}

// patterns are those of all "include" that were not looked for yet.
func (c *Config) patterns() (list []string, err error) {
	for _, file := range slices.Sorted(maps.Keys(c.Files)) {
		tree, err := ParseFile(file, c.Files[file])
		if err != nil {
			return nil, err
		}
		Each(tree, func(d Directive) {
			pattern, ok := c.included(d)
			if _, done := c.includes[pattern]; ok && !done {
				c.includes[pattern] = nil
				list = append(list, pattern)
			}
		})
	}
	return list, nil
}

// included is the pattern of an "include", from the main file's directory.
func (c *Config) included(d Directive) (pattern string, ok bool) {
	if d.Name != "include" || len(d.Args) != 1 {
		return "", false
	}
	if path.IsAbs(d.Args[0]) {
		return path.Clean(d.Args[0]), true
	}
	return path.Join(path.Dir(c.Main), d.Args[0]), true
}

// build makes the tree of the texts.
func (c *Config) build() error {
	parsed := map[string][]Directive{}
	for file, text := range c.Files {
		tree, err := ParseFile(file, text)
		if err != nil {
			return err
		}
		parsed[file] = tree
	}
	var err error
	c.Tree, err = c.splice(parsed[c.Main], parsed, 0)
	return err
}

func (c *Config) splice(list []Directive, parsed map[string][]Directive, depth int) (all []Directive, err error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("%s: more than %d files and blocks inside each other", c.Main, maxNesting)
	}
	for _, d := range list {
		inside := d.Children
		if pattern, ok := c.included(d); ok {
			for _, file := range c.includes[pattern] {
				inside = append(inside, parsed[file]...)
			}
		}
		if inside, err = c.splice(inside, parsed, depth+1); err != nil {
			return nil, err
		}
		if d.Name == "include" {
			all = append(all, inside...)
			continue
		}
		d.Children = inside
		all = append(all, d)
	}
	return all, nil
}

// ParseFile is Parse of a file's text; its directives have the file's name.
func ParseFile(file, text string) ([]Directive, error) {
	r := &reader{text: text, line: 1, file: file}
	list, err := r.block(0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return list, nil
}

// Each calls fn with every directive, those in blocks after their block.
func Each(list []Directive, fn func(Directive)) {
	for _, d := range list {
		fn(d)
		Each(d.Children, fn)
	}
}

// keyed are directives that may stand several times in a block, told apart by their first argument.
var keyed = map[string]bool{
	"proxy_set_header": true, "add_header": true, "log_format": true, "proxy_cache_path": true, "proxy_cache_valid": true,
	"error_page": true, "upstream": true, "proxy_hide_header": true, "proxy_ignore_headers": true,
}

// Ident names a directive among its neighbours. Of a location or map all arguments count: "location = /x" is not "location /x".
func (d Directive) Ident() string {
	switch {
	case d.Name == "location", d.Name == "map", d.Name == "if":
		return d.Name + " " + strings.Join(d.Args, " ")
	case keyed[d.Name] && len(d.Args) > 0:
		return d.Name + " " + d.Args[0]
	}
	return d.Name
}

// Names are what directives are called among their neighbours; a number tells those apart that are called the same.
func Names(list []Directive) []string {
	all, count := make([]string, len(list)), map[string]int{}
	for i, d := range list {
		all[i] = d.Ident()
		if count[all[i]]++; count[all[i]] > 1 {
			all[i] += "#" + strconv.Itoa(count[all[i]])
		}
	}
	return all
}

// Separator is between the blocks of a key: "http > server > location / > access_log".
const Separator = " > "

// LastName is the last part of a key, without the number that tells it from others of its name.
func LastName(key string) string {
	parts := strings.Split(key, Separator)
	name, _, _ := strings.Cut(parts[len(parts)-1], "#")
	return name
}

func matches(name, pattern string) bool {
	prefix, any := strings.CutSuffix(pattern, " *")
	return name == pattern || any && (name == prefix || strings.HasPrefix(name, prefix+" ") || strings.HasPrefix(name, prefix+"#"))
}

// Places are the keys that a pattern means: "upstream *" is each of the blocks of that name. The last part need not be there.
func (c *Config) Places(pattern string) []string {
	parts := strings.Split(pattern, Separator)
	paths, blocks := []string{""}, [][]Directive{c.Tree}
	for _, part := range parts[:len(parts)-1] {
		var nextPaths []string
		var nextBlocks [][]Directive
		for i, inside := range blocks {
			for j, name := range Names(inside) {
				if inside[j].Block && matches(name, part) {
					nextPaths = append(nextPaths, paths[i]+name+Separator)
					nextBlocks = append(nextBlocks, inside[j].Children)
				}
			}
		}
		paths, blocks = nextPaths, nextBlocks
	}
	for i := range paths {
		paths[i] += parts[len(parts)-1]
	}
	return paths
}

// Find returns the block that a key belongs into, nil outside of all, and the directive where it is there.
func (c *Config) Find(key string) (parent, found *Directive, err error) {
	list, parts := c.Tree, strings.Split(key, Separator)
	for i, part := range parts {
		all := Names(list)
		found = nil
		for j := range list {
			if all[j] == part {
				found = &list[j]
			}
		}
		if i == len(parts)-1 {
			break
		}
		if found == nil || !found.Block {
			return nil, nil, fmt.Errorf("the block %q: %w", part, engine.ErrGone)
		}
		parent, list = found, found.Children
	}
	return parent, found, nil
}

// Value is what a key has: the text of a directive behind its name, or that of a whole block.
func (c *Config) Value(key string) (engine.Value, error) {
	_, d, err := c.Find(key)
	if err != nil || d == nil {
		return engine.Value{Absent: true}, err
	}
	return engine.Value{Text: c.textOf(*d)}, nil
}

func (c *Config) textOf(d Directive) string {
	from, to := d.bounds(c.Files[d.File])
	return c.Files[d.File][from:to]
}

// bounds are those of a directive's value in its file.
func (d Directive) bounds(text string) (from, to int) {
	if d.Block {
		return d.Start, d.End
	}
	inside := text[d.Start+len(d.Name) : d.End-1]
	trimmed := strings.TrimSpace(inside)
	from = d.Start + len(d.Name) + strings.Index(inside, trimmed)
	return from, from + len(trimmed)
}

// Winners are the keys of directives in lower levels that override a key: a block's directive replaces all inherited ones of its name.
func (c *Config) Winners(key string) []string {
	parts := strings.Split(key, Separator)
	last := parts[len(parts)-1]
	name, _, _ := strings.Cut(LastName(key), " ")
	parent, own, err := c.Find(key)
	if err != nil || own != nil && own.Block {
		return nil
	}
	var keys []string
	var walk func(list []Directive, prefix string, inside bool)
	walk = func(list []Directive, prefix string, inside bool) {
		has := false
		for i, called := range Names(list) {
			d := list[i]
			if d.Block && levels[d.Name] {
				walk(d.Children, prefix+called+Separator, true)
			}
			if !inside || d.Block || d.Name != name {
				continue
			}
			if !keyed[name] {
				keys = append(keys, prefix+called)
			}
			has = true
		}
		if has && keyed[name] {
			keys = append(keys, prefix+last)
		}
	}
	if parent == nil {
		return nil // the main level's directives have no other
	}
	walk(parent.Children, strings.Join(parts[:len(parts)-1], Separator)+Separator, false)
	return keys
}

// levels are the blocks whose directives win over those of the blocks around them.
var levels = map[string]bool{"http": true, "server": true, "location": true, "if": true, "limit_except": true}
