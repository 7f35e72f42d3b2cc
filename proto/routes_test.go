package proto_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"isukit/proto"
	_ "isukit/proto/portal/v1"
)

func TestEveryRouteNamesKnownMessages(t *testing.T) {
	routes := proto.Portal()
	if len(routes) < 20 {
		t.Fatalf("Portal() has %d routes, want those of routes.tsv", len(routes))
	}
	seen := map[string]bool{}
	for _, r := range routes {
		if seen[r.Method+r.Path] || r.Response == "" || r.Method == "*" {
			t.Errorf("%s %s: a second time, without an answer, or of any method", r.Method, r.Path)
		}
		seen[r.Method+r.Path] = true
		for _, name := range []string{r.Request, r.Response} {
			if name == "" {
				continue
			}
			if _, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name)); err != nil {
				t.Errorf("%s %s: message %s: %v", r.Method, r.Path, name, err)
			}
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct{ method, path, want string }{
		{"GET", "/api/contest", "/api/contest"},
		{"PUT", "/api/contest", "/api/contest"},
		{"POST", "/api/contest", ""},
		{"GET", "/api/teams", "/api/teams"},
		{"GET", "/api/teams/12", "/api/teams/{team_id}"},
		{"GET", "/api/teams/", ""},
		{"GET", "/api/teams/12/", ""},
		{"POST", "/api/teams/12/members", "/api/teams/{team_id}/members"},
		{"POST", "/worker/jobs/receive", "/worker/jobs/receive"},
		{"POST", "/worker/jobs/7/result", "/worker/jobs/{job_id}/result"},
		{"GET", "/", ""},
		{"GET", "", ""},
		{"get", "/api/contest?all=1", "/api/contest"},
	}
	for _, tt := range tests {
		got, ok := proto.Portal().Match(tt.method, tt.path)
		if got.Path != tt.want || ok != (tt.want != "") {
			t.Errorf("Match(%q, %q) = %q, %v; want %q", tt.method, tt.path, got.Path, ok, tt.want)
		}
	}
}

func TestMatchPrefersLiteralSegments(t *testing.T) {
	routes, err := proto.ParseRoutes(strings.NewReader("GET\t/a/{x}\t-\tm.X\nGET\t/a/b\t-\tm.B\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/a/b": "m.B", "/a/c": "m.X"} {
		if got, _ := routes.Match("GET", path); got.Response != want {
			t.Errorf("Match(%s) = %s, want %s", path, got.Response, want)
		}
	}
}

func TestParseReportsEveryFault(t *testing.T) {
	_, err := proto.ParseRoutes(strings.NewReader("# comment\nGET\t/a\t-\tm.A\nGET\tc\t-\tm.C\nGET\t/d\t-\nGET\t/e\t\tm.E\n"))
	if err == nil {
		t.Fatal("no fault was found, want three")
	}
	for _, want := range []string{"line 3", "line 4: 3 columns", "line 5"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestPortalIsACopy(t *testing.T) {
	proto.Portal()[0].Path = "/changed"
	if got := proto.Portal()[0].Path; got == "/changed" {
		t.Error("changing the result of Portal changed the next one")
	}
}
