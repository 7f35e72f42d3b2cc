package envoy

import (
	"strings"
	"testing"

	"isukit/infra/engine"
)

// goesBack edits every key of a text, adds one to every mapping, and reverts each edit: the text must be the same, byte for byte. It
// returns the refused edits.
func goesBack(t *testing.T, text string) (refused []string) {
	t.Helper()
	entries, err := Parse(text)
	if err != nil {
		return []string{err.Error()}
	}
	var keys []string
	for _, key := range keysBelow("", entries) {
		keys = append(keys, key)
		if parent, _ := Find(entries, key); parent != nil && parent.Children[0].colon > 0 {
			keys = append(keys, strings.TrimSuffix(key, lastName(key))+"added by isukit")
		}
	}
	for _, key := range keys {
		_, was, err := change(text, key, engine.Value{Text: "[]"})
		if err != nil {
			continue // at the top, or a name with a separator in it
		}
		edited, err := Edit(text, key, engine.Value{Text: "[]"})
		if err != nil {
			refused = append(refused, err.Error())
			continue
		}
		if parent, found := Find(mustParse(t, edited), key); parent == nil || found == nil || found.Value(edited) != "[]" {
			t.Fatalf("%s is not [] in\n%s", key, edited)
		}
		back, err := Edit(edited, key, was)
		if err != nil || back != text {
			t.Fatalf("%s: %q became\n%q, then\n%q, %v", key, text, edited, back, err)
		}
	}
	return refused
}

func keysBelow(path string, entries []Entry) (keys []string) {
	for i, name := range Names(entries) {
		if !entries[i].Item && path != "" && name != "name" {
			keys = append(keys, path+name)
		}
		keys = append(keys, keysBelow(path+name+Separator, entries[i].Children)...)
	}
	return keys
}

func mustParse(t *testing.T, text string) []Entry {
	t.Helper()
	entries, err := Parse(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return entries
}

// shapes are ways to write YAML in which every key can be edited.
var shapes = map[string]string{
	"much":                           sample,
	"an item on lines below":         "a:\n- b: 1\n-\n  c: 2\n",
	"a list that ends empty":         "0: \n 00:\n      - 0\n      -",
	"a list that begins empty":       "a:\n  b:\n    -\n    - c: 1\n  d: 2\n",
	"only empty items":               "a:\n  b:\n    -\n    -\n  c: 1\n",
	"an empty item with a comment":   "a:\n  b:\n    - 1\n    - # nothing\n  c: 1\n",
	"lists in lists":                 "a:\n  b:\n    - - x\n      - - y\n        -\n    - -\n      - c: 1\n  d: 2\n",
	"comments":                       "# one\na: # two\n  # three\n  b: it's # four\n  # five\n  c: \"x # \\\" # y\" # six\n  d: [a, 'b # c'] # seven\n# eight\n",
	"tabs before comments":           "a:\n  b: 1\t# one\n  c:\t\n    d: 2\n",
	"flow style":                     "a:\n  b: {c: [1, 2], d: {e: f}}\n  g: [\n    {h: i}, # one\n    j]\n  k: {}\n",
	"no values":                      "a:\n  b:\n  c:   # one\n  d:\n",
	"literal blocks":                 "a:\n  b: |\n    # no comment\n    - no item\n\n    \tno tab\n  c: >-\n    d: no key\n  e: |2-\n      # f\n  g: 1\n",
	"a literal block that ends in #": "a:\n  b: |\n    x\n    # no comment\n  c: 1\n",
	"scalars on several lines":       "a:\n  b: one\n    two\n  c: \"three\n    four\"\n  d: 1\n",
	"anchors":                        "a:\n  b: &x 1\n  c: &y\n    d: 2\n  e: 3\n",
	"quoted keys":                    "a:\n  \"@type\": x\n  'b c': 1\n  d: 2\n",
	"CRLF":                           "a:\r\n  b: 1\r\n  c:\r\n    - d: 2 # one\r\n    -\r\n  e: |\r\n    f\r\n",
	"one document":                   "--- # one\na:\n  b: 1\n  c: 2\n",
	"no end of line":                 "a:\n  b: 1\n  c: 2",
	"blanks at ends":                 "a:   \n  b: 1  \n  c: 2  \n  d: [e,  \n    f]  \n",
	"items that are not indented":    "a:\n  b:\n  - c: 1\n    d: 2\n  - e\n  f: 3\n",
}

func TestYAMLGoesBack(t *testing.T) {
	for name, text := range shapes {
		t.Run(name, func(t *testing.T) {
			if refused := goesBack(t, text); len(refused) > 0 {
				t.Errorf("refused: %s\nin\n%s", strings.Join(refused, "\n"), text)
			}
		})
	}
}

// TestYAMLRefused has what must not be edited, as something else would change, or nobody knows what.
func TestYAMLRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, key, want string }{
		"an anchor that is used":         {"a:\n  b: &x 1\n  c: *x\n", "a:b", "cannot be edited safely: it cannot be read"},
		"a merge":                        {"x: &x\n  c: 1\na:\n  <<: *x\n  b: 2\n", "a:<<", "cannot be edited safely"},
		"a key twice":                    {"a:\n  b: 1\n  b: 2\n", "a:b", "cannot be edited safely: it cannot be read"},
		"another document":               {"a:\n  b: 1\n---\na:\n  b: 2\n", "a:b", "line 3: more than one document"},
		"the end of a document":          {"a:\n  b: 1\n...\n", "a:b", "line 3: more than one document"},
		"text on a document's line":      {"--- {a: 1}\n", "a:b", "line 1: more than one document, or text"},
		"a key that is a question":       {"a:\n  ? b\n  : 1\n", "a:b", "line 2: it is not a key in block style"},
		"a tab behind a dash":            {"a:\n  -\tb: 1\n", "a:1:b", "line 2: a tab before its text"},
		"a carriage return":              {"a:\n  b: 1\r  c: 2\n", "a:b", "line 2: a carriage return within it"},
		"flow style at the key's place":  {"a: {b: 1}\n", "a:b", "it is gone"},
		"an item":                        {"a:\n  - b\n", "a:1", "cannot be edited safely"},
		"nothing that can be read":       {"a:\n  b: [\n  c: 1\n", "a:c", "cannot be edited safely: it cannot be read"},
		"what the library reads wrongly": {"a:\n  b:\n  - 1\n  -\n  c: 1\n", "a:c", "its place is another"},
		"lines kept at a scalar's end":   {"a:\n  b: |+\n    x\n\n\n  c: 1\n", "a:new", "something else would change"},
	} {
		if got, err := Edit(c.text, c.key, engine.Value{Text: "[]"}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
	if got, err := Edit("a:\n  - b: 1\n    c: 2\n", "a:1:b", engine.Value{Absent: true}); err == nil {
		t.Errorf("the first key of an item is taken out with its dash: %q", got)
	}
}

func FuzzYAML(f *testing.F) {
	for _, text := range shapes {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { goesBack(t, text) })
}
