package envoy

import (
	"slices"
	"strings"
	"testing"
)

const sample = `# first
admin: # of nobody else
  address: {port: 1} # flow
list:
- name: "one"
  "@type": x:y
  text: |
    # no comment
    key: no key

- name: two
  nested:
      - - 1
        - 2
      - inner: [a,
          b]
last:   'value # with' # and a comment
`

// paths are all keys below a path, each with its value.
func paths(text, path string, entries []Entry) []string {
	var list []string
	for i, name := range Names(entries) {
		e := entries[i]
		if !e.Item {
			list = append(list, path+name+"="+e.Value(text))
		}
		list = append(list, paths(text, path+name+Separator, e.Children)...)
	}
	return list
}

func TestParseYAML(t *testing.T) {
	entries, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	got := paths(sample, "", entries)
	for _, want := range []string{
		"admin:address={port: 1}", `list:one:name="one"`, "list:one:@type=x:y", "list:one:text= |\n    # no comment\n    key: no key",
		"list:two:nested:2:inner= [a,\n          b]", "last='value # with'",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("no %q among\n%s", want, strings.Join(got, "\n"))
		}
	}
	for name, text := range map[string]string{
		"a tab": "a:\n\tb: 1\n", "flow at the top": "{a: b}\n", "mixed": "a: 1\n- b\n", "too deep": "a:\n    b: 1\n  c: 2\n", "not a key": "a: 1\nb\n", "anchors": "*a : 1\n",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s is taken: %q", name, text)
		}
	}
}
