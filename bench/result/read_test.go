package result_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"isukit/bench/result"
)

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", "damaged JSON"},
		{"cut short", "{\n\"format\": 1,\n\"id\": \"x", "line 3: damaged JSON"},
		{"garbage after", `{"format":1,"id":"x"} x`, "damaged JSON"},
		{"not an object", `[1]`, "cannot unmarshal array"},
		{"another file", `{"a":1}`, `"format" is missing`},
		{"format 0", `{"format":0,"id":"x"}`, "format 0"},
		{"newer, with fields unknown here", `{"format":2,"moons":[1]}`, "round format 2 is newer than 1"},
		{"unknown field", `{"format":1,"id":"x","moons":[1]}`, `has no field "moons"`},
		{"unknown field below", `{"format":1,"id":"x","endpoints":[{"moons":1}]}`, `has no field "moons"`},
		{"wrong type", "{\"format\":1,\n\"id\":7}", "line 2: json: cannot unmarshal number"},
		{"id that leads elsewhere", `{"format":1,"id":"../x"}`, "begins with"},
		{"no id", `{"format":1}`, "no id"},
	}
	for _, tt := range tests {
		if r, err := result.Decode(strings.NewReader(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Decode(%s) = %v, %v, want an error with %q", tt.name, tt.in, r, err, tt.want)
		}
	}
	var newer *result.NewerFormatError
	if _, err := result.Decode(strings.NewReader(`{"format":9}`)); !errors.As(err, &newer) || newer.Format != 9 {
		t.Errorf("Decode of format 9 = %v, want a NewerFormatError", err)
	}
}

func TestDecodeIsBounded(t *testing.T) {
	endless := io.MultiReader(strings.NewReader(`{"format":1,"id":"`), forever('x'))
	if _, err := result.Decode(endless); err == nil || !strings.Contains(err.Error(), "more than 33554432 bytes") {
		t.Errorf("Decode of an endless file = %v, want an error that names the limit", err)
	}
}

type forever byte

func (f forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}

// FuzzDecode: a round that is accepted can be written and read again without loss.
func FuzzDecode(f *testing.F) {
	dir := f.TempDir()
	path, err := result.Write(dir, sample("x"), text("a", "a"))
	if err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(filepath.Join(path, result.RoundFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)/2])
	f.Add([]byte(`{"format":1,"id":"x","timeline":[{"at_s":1,"cores_by_role":{"":1e308}}]}`))
	f.Add([]byte(`{"format":1e0}`))
	f.Add([]byte(`{"FORMAT":1,"format":2,"id":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := result.Decode(bytes.NewReader(data))
		if err != nil {
			if r != nil {
				t.Errorf("a round came with the error %v", err)
			}
			return
		}
		dir := t.TempDir()
		artifacts := r.Artifacts
		path, err := result.Write(dir, r)
		if err != nil {
			t.Fatalf("a round that was read cannot be written: %v", err)
		}
		again, err := result.Read(path)
		if err != nil {
			t.Fatalf("a round that was written cannot be read: %v", err)
		}
		r.Artifacts = artifacts
		again.Artifacts = artifacts
		if diff := cmp.Diff(r, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("lost on the way (-first +again):\n%s", diff)
		}
	})
}
