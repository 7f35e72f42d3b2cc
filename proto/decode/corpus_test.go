package decode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"isukit/proto/decode"
)

// corpusCase is a body of testdata/corpus, made by make.sh: protoc's text of it, and its JSON by Google's Python library.
type corpusCase struct {
	name, typ string
	missing   bool // protoc says that required fields are missing
	what      string
	body      []byte
	text      string
	json      string // "" without a text of the library, "none: " and the reason without such a form
}

func corpus(t *testing.T) (all []corpusCase) {
	t.Helper()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join("testdata", "corpus", name))
		if err != nil && !(os.IsNotExist(err) && strings.HasSuffix(name, ".json")) {
			t.Fatal(err)
		}
		return string(data)
	}
	for line := range strings.Lines(read("cases.tsv")) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		all = append(all, corpusCase{f[0], f[2], f[3] != "0", f[4], []byte(read(f[0] + ".bin")), read(f[0] + ".txt"), read(f[0] + ".json")})
	}
	if len(all) < 30 {
		t.Fatalf("%d cases", len(all))
	}
	return all
}

// protocForm is a text of isukit as protoc writes it: letters that are not ASCII as octal escapes, no remark on what is a group.
func protocForm(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		for _, c := range []byte(strings.Replace(line, " { # a group\n", " {\n", 1)) {
			if c < 0x80 {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, `\%03o`, c)
			}
		}
	}
	return b.String()
}

// TestCorpusIsWhatProtocReads: each body's text is protoc's, both read back to the same message, and JSON is the library's, and a part
// without such a form is reported, with the rest shown.
func TestCorpusIsWhatProtocReads(t *testing.T) {
	schema, err := decode.Compile(t.Context(), filepath.Join("testdata", "corpus"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range corpus(t) {
		t.Run(c.name, func(t *testing.T) {
			md := find(t, schema, c.typ)
			body := schema.Decode(md, c.body, decode.DefaultLimits())
			if len(body.Faults) > 0 {
				t.Errorf("%s: faults %v, protoc has none", c.what, body.Faults)
			}
			if c.missing != (len(body.Missing) > 0) {
				t.Errorf("%s: missing %q, protoc says %v", c.what, body.Missing, c.missing)
			}
			text := decode.Text(body.Message)
			printsTheSame(t, schema, md, c.body, body)
			if diff := gocmp.Diff(c.text, protocForm(text)); diff != "" {
				t.Errorf("%s (-protoc +isukit):\n%s", c.what, diff)
			}
			for who, text := range map[string]string{"isukit": text, "protoc": c.text} {
				back, err := decode.Encode(md, []byte(text), schema)
				if err != nil {
					t.Fatalf("%s: encode does not read %s's text: %v\n%s", c.what, who, err, text)
				}
				// protoc's text does not distinguish an unknown group from a message.
				if _, same := sameMessages(body.Message, back); !same && !(who == "protoc" && strings.Contains(protocForm(decode.Text(back)), c.text)) {
					t.Errorf("%s: encode reads %s's text\n%s\nas\n%s", c.what, who, text, decode.Text(back))
				}
			}
			out, faults := decode.JSON(body.Message, "", schema)
			reason, none := strings.CutPrefix(c.json, "none: ")
			switch {
			case c.json == "":
			case none && (len(faults) == 0 || !json.Valid(out)):
				t.Errorf("%s: JSON %s, faults %q, where the library has none: %s", c.what, out, faults, reason)
			case none:
				holdsTheRest(t, c, out)
			case len(faults) > 0 || !sameValue(t, out, []byte(c.json)):
				t.Errorf("%s: JSON %s, faults %q\nthe library writes %s", c.what, out, faults, c.json)
			}
		})
	}
}

// holdsTheRest: every string of protoc's text is in JSON that lacks a form for some part.
func holdsTheRest(t *testing.T, c corpusCase, out []byte) {
	t.Helper()
	for line := range strings.Lines(c.text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if ok && (name == "name" || name == "paths" || name == "string_value" || name == "type_url" || name == "seconds" && !strings.Contains(string(out), `Z"`)) &&
			!strings.Contains(string(out), `"`+strings.Trim(value, `"`)+`"`) {
			t.Errorf("%s: %s is not in %s", c.what, value, out)
		}
	}
}

func sameValue(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	return json.Unmarshal(a, &x) == nil && gocmp.Equal(x, y)
}

// TestCorpusOfSets: a descriptor set that protoc made of a file with a MessageSet is as good as any.
func TestCorpusOfSets(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "corpus", "sets.set"))
	if err != nil {
		t.Fatal(err)
	}
	schema, err := decode.ParseDescriptorSet(data)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(corpus(t), func(c corpusCase) bool { return c.name == "set-beside" })
	c := corpus(t)[at]
	body := schema.Decode(find(t, schema, c.typ), c.body, decode.DefaultLimits())
	if got := decode.Text(body.Message); got != c.text || len(body.Faults) > 0 {
		t.Errorf("%s, %v\nwant %s", got, body.Faults, c.text)
	}
}

// TestCorpusTyped: what a person types becomes the message that protoc makes of its text.
func TestCorpusTyped(t *testing.T) {
	schema, err := decode.Compile(t.Context(), filepath.Join("testdata", "corpus"))
	if err != nil {
		t.Fatal(err)
	}
	typed := 0
	for _, c := range corpus(t) {
		args, err := os.ReadFile(filepath.Join("testdata", "corpus", c.name+".args"))
		if err != nil {
			continue
		}
		typed++
		md := find(t, schema, c.typ)
		m, err := decode.EncodeFields(md, strings.Split(strings.TrimSpace(string(args)), "\n"), schema)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if want := decode.Text(schema.Decode(md, c.body, decode.DefaultLimits()).Message); decode.Text(m) != want {
			t.Errorf("%s is encoded as\n%s\nwant\n%s", args, decode.Text(m), want)
		}
	}
	if typed < 7 {
		t.Errorf("%d cases are typed", typed)
	}
}

// TestCorpusCoverings: what tools and libraries wrap a body in is named, and taken off where isukit says that it can be.
func TestCorpusCoverings(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "corpus", "all-types.bin"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join("testdata", "corpus", "coverings", "*.*"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kind := strings.TrimPrefix(filepath.Ext(file), ".")
		hints := decode.Hints(data)
		if len(hints) != 1 || hints[0].Kind != kind || kind != "zstd" && !bytes.Equal(hints[0].Inner, want) {
			t.Errorf("%s: hints %+v, want it called %s, and the body", file, hints, kind)
		}
		if from := map[string]func([]byte) ([]byte, bool){"hex": decode.FromHex, "hexdump": decode.FromHex, "base64": decode.FromBase64}[kind]; from != nil {
			if inner, ok := from(data); !ok || !bytes.Equal(inner, want) {
				t.Errorf("%s is read as %x, %v", file, inner, ok)
			}
		}
	}
}
