package envoy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"isukit/infra/engine"
	inyaml "isukit/input/yaml"
)

// Edit sets a key's value, or removes the key; all else stays byte for byte. It is an error if a reader of all of YAML finds that anything
// but this one value has changed, or if reverting the edit would not give the same text: then the text is written in a way that this
// package does not understand.
func Edit(text, key string, v engine.Value) (string, error) {
	edited, was, err := change(text, key, v)
	if err != nil || edited == text {
		return edited, err
	}
	if err := check(text, edited, key, v); err != nil {
		return "", fmt.Errorf("%s cannot be edited safely: %w", key, err)
	}
	if v.Absent {
		return edited, nil
	}
	back, _, err := change(edited, key, was)
	if err == nil && back != text {
		err = errors.New("it would not be the same again")
	}
	if err == nil {
		err = check(edited, back, key, was)
	}
	if err != nil {
		return "", fmt.Errorf("%s cannot be edited safely: after a revert, %w", key, err)
	}
	return edited, nil
}

// change edits a text as the block reader understands it; was is what the key had.
func change(text, key string, v engine.Value) (edited string, was engine.Value, err error) {
	entries, err := Parse(text)
	if err != nil {
		return "", was, err
	}
	parent, found := Find(entries, key)
	if parent == nil {
		return "", was, fmt.Errorf("the place of %s: %w", key, engine.ErrGone)
	}
	if found == nil {
		return add(text, *parent, lastName(key), v), engine.Value{Absent: true}, nil
	}
	was = engine.Value{Text: found.Value(text)}
	switch {
	case v.Absent:
		begin := strings.LastIndexByte(text[:found.colon], '\n')
		if begin < 0 {
			return "", was, fmt.Errorf("%s stands on the first line", key)
		}
		return text[:begin] + text[lineEnd(text, found.to):], was, nil
	case v.Text == "" || strings.Contains(v.Text, "\n"):
		return text[:found.colon] + v.Text + text[found.to:], was, nil
	case found.from == found.colon:
		return text[:found.colon] + " " + v.Text + text[found.to:], was, nil
	}
	return text[:found.from] + v.Text + text[found.to:], was, nil
}

func add(text string, parent Entry, name string, v engine.Value) string {
	if v.Absent {
		return text
	}
	first, end := parent.Children[0], "\n"
	at := lineEnd(text, first.to)
	if strings.HasSuffix(text[:at], "\r") {
		at, end = at-1, "\r\n"
	}
	return text[:at] + end + strings.Repeat(" ", first.indent) + name + ":" + Space(v.Text) + v.Text + engine.Mark + text[at:]
}

func lastName(key string) string { return key[strings.LastIndex(key, Separator)+1:] }

func lineEnd(text string, at int) int {
	if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i
	}
	return len(text)
}

// Space is what has to be between a colon and a value: nothing where the value begins on the next line.
func Space(value string) string {
	if value == "" || strings.Contains(value, "\n") {
		return ""
	}
	return " "
}

// check reads both texts with the library, and with the block reader, and wants the value at the key changed, and only that.
func check(before, after, key string, v engine.Value) error {
	had, err := cutOut(before, key)
	if err != nil {
		return err
	}
	has, err := cutOut(after, key)
	if err != nil {
		return err
	}
	switch {
	case has.there == v.Absent || has.there && has.text != v.Text:
		return errors.New("it would not have the value")
	case !reflect.DeepEqual(had.rest, has.rest):
		return errors.New("something else would change with it")
	}
	if !has.there || strings.Contains(v.Text, "\n") {
		return nil // what a value on several lines means depends on where it stands
	}
	if want, err := decode("v: " + v.Text); err == nil && !reflect.DeepEqual(want, yaml.MapSlice{{Key: "v", Value: has.value}}) {
		return errors.New("it would have another value") // one that cannot be read alone names an anchor
	}
	return nil
}

// cut is a text as the library reads it, without the value of a key.
type cut struct {
	rest  any
	there bool // the key
	value any
	text  string // of the value, as the block reader sees it
}

func cutOut(text, key string) (cut, error) {
	entries, err := Parse(text)
	if err != nil {
		return cut{}, err
	}
	parent, found := Find(entries, key)
	if parent == nil {
		return cut{}, errors.New("its place would be gone")
	}
	c := cut{}
	if c.rest, err = decode(text); err != nil || found == nil {
		return c, err
	}
	c.there, c.text = true, found.Value(text)
	place := entryPath(entries, found)
	last := len(place) - 1
	err = errors.New("its place is another for a reader of all of YAML")
	at := &c.rest
	for _, i := range place[:last] {
		if at = child(at, i); at == nil {
			return c, err
		}
	}
	mapping, ok := (*at).(yaml.MapSlice)
	if !ok || place[last] >= len(mapping) {
		return c, err
	}
	if called := mapping[place[last]].Key; called != found.Name {
		// The library writes numbers in its own way: 00 is 0.
		if plain, _ := decode(found.Name + ": 1"); !reflect.DeepEqual(plain, yaml.MapSlice{{Key: called, Value: uint64(1)}}) {
			return c, err
		}
	}
	c.value = mapping[place[last]].Value
	*at = slices.Delete(mapping, place[last], place[last]+1)
	return c, nil
}

// entryPath are the numbers of an entry and of those that it is inside of, the outermost first.
func entryPath(entries []Entry, e *Entry) []int {
	for i := range entries {
		if &entries[i] == e {
			return []int{i}
		}
		if inside := entryPath(entries[i].Children, e); inside != nil {
			return append([]int{i}, inside...)
		}
	}
	return nil
}

// child is the value at a number of a mapping or sequence; nil where there is none.
func child(v *any, i int) *any {
	switch v := (*v).(type) {
	case yaml.MapSlice:
		if i < len(v) {
			return &v[i].Value
		}
	case []any:
		if i < len(v) {
			return &v[i]
		}
	}
	return nil
}

// decode reads a text with the library, the keys of mappings in order.
func decode(text string) (v any, err error) {
	if err := inyaml.Decode([]byte(text), &v, yaml.UseOrderedMap()); err != nil {
		return nil, fault(err)
	}
	return v, nil
}

// fault is what the library says in its first line; the rest shows the file.
func fault(err error) error {
	what, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("it cannot be read: %s", what)
}

// Separator is between the names of a key: "static_resources:listeners:portal:filter_chains:1:...". It is none of those that
// a file name has to write in three bytes.
const Separator = ":"

// Names are what entries are called among their neighbours.
func Names(list []Entry) []string {
	all, count := make([]string, len(list)), map[string]int{}
	for i, e := range list {
		all[i] = e.Name
		if count[e.Name]++; count[e.Name] > 1 {
			all[i] += "#" + strconv.Itoa(count[e.Name])
		}
	}
	return all
}

// Places finds the keys that a setting's key means: "*" is each item of a list. Its last name need not be there.
func Places(entries []Entry, pattern string) []string {
	name, rest, more := strings.Cut(pattern, Separator)
	if !more {
		return []string{name}
	}
	var places []string
	for i, called := range Names(entries) {
		e := entries[i]
		if called != name && (name != "*" || !e.Item) || len(e.Children) == 0 || e.Children[0].Item && !strings.Contains(rest, Separator) {
			continue
		}
		for _, place := range Places(e.Children, rest) {
			places = append(places, called+Separator+place)
		}
	}
	return places
}

// Find finds a key, and the entry that it belongs into; found is nil where only that is there.
func Find(entries []Entry, key string) (parent, found *Entry) {
	for i, called := range Names(entries) {
		rest, ok := strings.CutPrefix(key, called)
		if !ok {
			continue
		}
		if rest == "" && !entries[i].Item {
			return nil, &entries[i]
		}
		rest, ok = strings.CutPrefix(rest, Separator)
		if !ok {
			continue
		}
		parent, found = Find(entries[i].Children, rest)
		if parent == nil && (found != nil || len(entries[i].Children) > 0 && !strings.Contains(rest, Separator)) {
			parent = &entries[i]
		}
		if parent != nil {
			return parent, found
		}
	}
	return nil, nil
}
