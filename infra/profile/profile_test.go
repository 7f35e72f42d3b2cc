package profile_test

import (
	"bytes"
	"context"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isukit/infra/profile"
)

func TestFlame(t *testing.T) {
	s := profile.Stacks{Stacks: []profile.Stack{
		{Frames: []string{"main", "slow", "sort"}, Value: 60}, {Frames: []string{"main", "fast"}, Value: 30},
		{Frames: []string{"main", "slow"}, Value: 9}, {Frames: []string{"gc"}, Value: 1}, {Frames: []string{"odd"}, Value: -5},
	}}
	want := []profile.Box{{"all", 0, 0, 100, 0}, {"main", 1, 0, 99, 0}, {"slow", 2, 0, 69, 9}, {"sort", 3, 0, 60, 60}, {"fast", 2, 69, 30, 30}}
	if diff := cmp.Diff(want, s.Flame(0.02)); diff != "" {
		t.Errorf("(- want, + got):\n%s", diff)
	}
	if got := (&profile.Stacks{}).Flame(0); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

// burn works under a name that the profile must have. The profile looks a hundred times in a second of CPU time; this takes
// half a second of the fastest.
func burn() (sum int) {
	for i := range 1_000_000_000 {
		sum += i ^ sum>>1
	}
	return sum
}

// TestOwnProfile reads a CPU profile of this very test.
func TestOwnProfile(t *testing.T) {
	var file bytes.Buffer
	if err := pprof.StartCPUProfile(&file); err != nil {
		t.Fatal(err)
	}
	t.Log(burn())
	pprof.Do(t.Context(), pprof.Labels("route", "GET /burn/{id}"), func(context.Context) { t.Log(burn()) })
	pprof.StopCPUProfile()
	s, err := profile.ParsePprof(file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if s.Unit != "nanoseconds" || s.Type != "cpu" {
		t.Errorf("unit %s of %s", s.Unit, s.Type)
	}
	var burned, labelled int64
	for _, st := range s.Stacks {
		if at := slices.IndexFunc(st.Frames, func(f string) bool { return strings.HasSuffix(f, "profile_test.burn") }); at > 0 {
			burned += st.Value
			switch caller := st.Frames[at-1]; {
			case caller == "isukit/infra/profile_test.TestOwnProfile":
			case st.Frames[0] == "GET /burn/{id}" && strings.HasPrefix(caller, "isukit/infra/profile_test.TestOwnProfile"):
				labelled += st.Value
			default:
				t.Errorf("burn is called by %s", st.Frames)
			}
		}
	}
	if labelled <= 0 || burned <= labelled || burned > s.Total() {
		t.Errorf("burn has %d of %d ns, %d of them below its route", burned, s.Total(), labelled)
	}
	var heap bytes.Buffer
	if err := pprof.Lookup("heap").WriteTo(&heap, 0); err != nil {
		t.Fatal(err)
	}
	if s, err = profile.ParsePprof(heap.Bytes()); err != nil || s.Type != "inuse_space" || s.Unit != "bytes" {
		t.Errorf("heap: %+v, %v", s, err)
	}
}

func TestPerf(t *testing.T) {
	s, err := profile.ParsePerf(strings.NewReader("# captured\nmysqld \n\tffff do_sys (inner) ([kernel.kallsyms])\n\t55aa row_search+0x1f (/usr/sbin/mysqld)\n\nmysqld\n" +
		"\tffff do_sys (inner) ([kernel.kallsyms])\n\t55aa row_search+0x2f (/usr/sbin/mysqld)\n\nnginx\n\n"))
	want := []profile.Stack{{[]string{"mysqld", "row_search", "do_sys (inner)"}, 2}, {[]string{"nginx"}, 1}}
	if err != nil || !cmp.Equal(want, s.Stacks) {
		t.Errorf("got %v, %v", s, err)
	}
}

// TestPerfWithoutSymbols reads stacks of a stripped server, and of a CPU that has nothing to do.
func TestPerfWithoutSymbols(t *testing.T) {
	s, err := profile.ParsePerf(strings.NewReader("swapper\n\tffff pv_native_safe_halt ([kernel.kallsyms])\n\nmariadbd\n\t55a1 [unknown] (/usr/sbin/mariadbd)\n" +
		"\t55a2 [unknown] (/usr/sbin/mariadbd)\n\t55a3 JOIN::exec+0x10 (/usr/sbin/mariadbd)\n\t55a4 [unknown] (/usr/sbin/mariadbd)\n\t7f01 [unknown] ([unknown])\n\n"))
	want := []profile.Stack{{[]string{"mariadbd", "[unknown]", "[mariadbd]", "JOIN::exec", "[mariadbd]"}, 1}}
	if err != nil || !cmp.Equal(want, s.Stacks) {
		t.Errorf("got %v, %v", s, err)
	}
}

func FuzzPprof(f *testing.F) {
	f.Add([]byte("\x0a\x04\x08\x01\x10\x02\x32\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := profile.ParsePprof(data); err == nil {
			s.Flame(0.01)
		}
	})
}
