package nginx

import (
	"strconv"
	"strings"
)

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
