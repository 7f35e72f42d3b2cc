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
	routes := proto.Routes()
	if len(routes) < 20 {
		t.Fatalf("Routes() has %d routes, want those of routes.tsv", len(routes))
	}
	for _, r := range routes {
		for _, name := range []protoreflect.FullName{r.Request, r.Response} {
			if name == "" {
				continue
			}
			if _, err := protoregistry.GlobalTypes.FindMessageByName(name); err != nil {
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
		{"get", "/api/contest", ""},
	}
	for _, tt := range tests {
		got, ok := proto.Match(tt.method, tt.path)
		if got.Path != tt.want || ok != (tt.want != "") {
			t.Errorf("Match(%q, %q) = %q, %v; want %q", tt.method, tt.path, got.Path, ok, tt.want)
		}
	}
}

func TestFindPrefersLiteralSegments(t *testing.T) {
	routes, err := proto.Parse("GET\t/a/{x}\t-\tm.X\nGET\t/a/b\t-\tm.B\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := proto.Find(routes, "GET", "/a/b"); got.Response != "m.B" {
		t.Errorf("Find(/a/b) = %s, want m.B", got.Response)
	}
	if got, _ := proto.Find(routes, "GET", "/a/c"); got.Response != "m.X" {
		t.Errorf("Find(/a/c) = %s, want m.X", got.Response)
	}
}

func TestParseReportsEveryFault(t *testing.T) {
	text := "# comment\nGET\t/a\t-\tm.A\nGET\t/a\t-\tm.A\nget\t/b\t-\tm.B\nGET\tc\t-\tm.C\nGET\t/d\t-\nGET\t/e\t!\tm.E\nGET\t/f\t-\t-\n"
	routes, err := proto.Parse(text)
	if len(routes) != 1 || err == nil {
		t.Fatalf("Parse gave %d routes and error %v, want 1 route and an error", len(routes), err)
	}
	for _, want := range []string{"line 3: GET /a is on line 2", "line 4", "line 5", "line 6: 3 fields", "line 7", "line 8"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestRoutesIsACopy(t *testing.T) {
	proto.Routes()[0].Path = "/changed"
	if got := proto.Routes()[0].Path; got == "/changed" {
		t.Error("changing the result of Routes changed the next one")
	}
}
