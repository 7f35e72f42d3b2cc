package nginx

import (
	"strconv"
	"strings"

	"isukit/infra/engine"
)

// Set sets or removes a key; all else stays byte for byte. Several edits follow one another, in any number of files.
func (c *Config) Set(key string, v engine.Value) error {
	parent, d, err := c.Find(key)
	if err != nil {
		return err
	}
	file := c.Main
	switch {
	case d != nil:
		file = d.File
	case parent != nil:
		file = parent.File
	}
	before := c.Files[file]
	after := edit(before, parent, d, key, v)
	if after == before {
		return nil
	}
	c.Files[file] = after
	return c.build()
}

// edit replaces a directive, puts it into its block, or takes it out.
func edit(text string, parent, d *Directive, key string, v engine.Value) string {
	switch {
	case d != nil && !v.Absent:
		from, to := d.bounds(text)
		return text[:from] + v.Text + text[to:]
	case d != nil && strings.HasPrefix(text[d.End:], engine.Mark+"\n"):
		start := strings.LastIndexByte(text[:d.Start], '\n') + 1
		return text[:start] + text[d.End+len(engine.Mark)+1:]
	case d != nil: // in a block on one line
		return text[:d.Start-1] + text[d.End:]
	case v.Absent:
		return text
	}
	statement := v.Text
	if !strings.HasSuffix(v.Text, "}") {
		parts := strings.Split(key, Separator)
		name, _, _ := strings.Cut(parts[len(parts)-1], " ")
		statement = name + " " + v.Text + ";"
	}
	switch {
	case parent == nil:
		return statement + engine.Mark + "\n" + text
	case parent.Name == "upstream":
		return addLast(text, *parent, statement)
	}
	return addFirst(text, *parent, statement)
}

// addFirst puts a statement at the beginning of a block, after isukit's own: a log_format must come before its use.
func addFirst(text string, parent Directive, statement string) string {
	at := parent.Body
	if !strings.HasPrefix(text[at:], "\n") {
		return text[:at] + " " + statement + text[at:]
	}
	for {
		line, _, ok := strings.Cut(text[at+1:], "\n")
		if !ok || !strings.HasSuffix(line, engine.Mark) {
			return text[:at] + "\n\t" + statement + engine.Mark + text[at:] // the line's end is there already
		}
		at += 1 + len(line)
	}
}

// addLast puts a statement at the end of a block: an upstream's keepalive comes behind what chooses its servers.
func addLast(text string, parent Directive, statement string) string {
	at := parent.End - 1
	start := strings.LastIndexByte(text[:at], '\n') + 1
	if start > parent.Body && strings.TrimSpace(text[start:at]) == "" {
		return text[:start] + "\t" + statement + engine.Mark + "\n" + text[start:]
	}
	at = len(strings.TrimRight(text[:at], " \t"))
	return text[:at] + " " + statement + text[at:]
}

// Values are the directives of a configuration, or of what nginx -T prints, each by its place:
// "http/server[2]/location /api/proxy_pass". What repeats is numbered from 2 on. Values are as they are written, with their quotes.
func Values(text string) (map[string]string, error) {
	tree, err := Parse(text)
	if err != nil {
		return nil, err
	}
	values, counts := map[string]string{}, map[string]int{}
	unique := func(key string) string {
		if counts[key]++; counts[key] > 1 {
			return key + "[" + strconv.Itoa(counts[key]) + "]"
		}
		return key
	}
	var walk func(list []Directive, prefix string)
	walk = func(list []Directive, prefix string) {
		for _, d := range list {
			if d.Block {
				walk(d.Children, unique(prefix+strings.Join(append([]string{d.Name}, d.Args...), " "))+"/")
				continue
			}
			from, to := d.bounds(text)
			value := text[from:to]
			if !strings.Contains(value, "#") { // a comment between its words ends where its line does
				value = strings.Join(strings.Fields(value), " ")
			}
			values[unique(prefix+d.Name)] = value
		}
	}
	walk(tree, "")
	return values, nil
}

// LogFormat is the name of a log_format, and the format without its quotes; name is "" where it is none.
func LogFormat(value string) (name, format string) {
	tree, err := Parse("log_format " + value + ";")
	if err != nil || len(tree) != 1 || len(tree[0].Args) < 2 {
		return "", ""
	}
	var b strings.Builder
	for _, word := range tree[0].Args[1:] {
		if !strings.HasPrefix(word, "escape=") {
			b.WriteString(word)
		}
	}
	return tree[0].Args[0], b.String()
}
