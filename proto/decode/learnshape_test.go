package decode_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"isukit/proto/decode"
)

// fairProtos are the files of a contest's portal in five packages: several have types of the same name, most answers are alike in their
// bytes, and many are empty.
var fairProtos = map[string]string{
	"fair/things.proto": `syntax = "proto3"; package fair.things; import "google/protobuf/timestamp.proto";
		message Cook { string id = 1; int64 kitchen_id = 2; string name = 3; bool junior = 4; }
		message Kitchen { int64 id = 1; string name = 2; string head_id = 3; repeated string cook_ids = 4; bool gone = 7; Cook head = 16; repeated Cook cooks = 17; }
		message Fair { google.protobuf.Timestamp opens_at = 1; google.protobuf.Timestamp closes_at = 3; int32 state = 6; bool frozen = 7; }
		message Question { int64 id = 1; int64 kitchen_id = 2; bool answered = 3; bool open = 4; string text = 5; string answer = 6; google.protobuf.Timestamp asked_at = 7; Kitchen kitchen = 16; }
		message Dish { int64 id = 1; int64 kitchen_id = 2; int32 state = 4; google.protobuf.Timestamp sent_at = 5; google.protobuf.Timestamp judged_at = 6; int64 points = 18; string table = 30; }
		message Board { message Row { int64 best = 1; int64 last = 2; int64 count = 4; Kitchen kitchen = 16; } repeated Row rows = 1; repeated Row juniors = 2; Fair fair = 5; }
		message Notice { int64 id = 1; google.protobuf.Timestamp at = 2; int64 dish_id = 3; int64 question_id = 4; }
		message Error { int32 code = 1; string message = 2; }`,
	"fair/admin.proto": `syntax = "proto3"; package fair.admin; import "fair/things.proto";
		message InitializeRequest { fair.things.Fair fair = 1; } message InitializeResponse { string language = 1; string host = 2; int64 port = 3; }
		message ListQuestionsResponse { repeated fair.things.Question questions = 1; } message GetQuestionRequest { int64 id = 1; }
		message GetQuestionResponse { fair.things.Question question = 1; }
		message RespondQuestionRequest { int64 id = 1; bool open = 2; string answer = 3; string text = 4; } message RespondQuestionResponse { fair.things.Question question = 1; }
		message DashboardResponse { fair.things.Board board = 1; } message ListKitchensResponse { repeated fair.things.Kitchen kitchens = 1; }
		message EnqueueDishRequest { int64 kitchen_id = 1; string table = 2; } message EnqueueDishResponse { fair.things.Dish dish = 1; }`,
	"fair/audience.proto": `syntax = "proto3"; package fair.audience; import "fair/things.proto";
		message DashboardResponse { fair.things.Board board = 1; }
		message ListKitchensResponse { message Item { int64 kitchen_id = 1; string name = 2; repeated string cooks = 3; bool junior = 5; } repeated Item kitchens = 1; }`,
	"fair/common.proto": `syntax = "proto3"; package fair.common; import "fair/things.proto";
		message GetCurrentSessionResponse { fair.things.Kitchen kitchen = 1; fair.things.Cook cook = 2; fair.things.Fair fair = 4; string key = 6; }`,
	"fair/registration.proto": `syntax = "proto3"; package fair.registration; import "fair/things.proto";
		message GetRegistrationSessionQuery { int64 kitchen_id = 1; } message GetRegistrationSessionResponse { fair.things.Kitchen kitchen = 1; int32 status = 2; string invite_url = 3; string token = 4; }
		message CreateKitchenRequest { string kitchen_name = 1; string name = 2; string email = 3; bool junior = 4; } message CreateKitchenResponse { int64 kitchen_id = 1; }
		message JoinKitchenRequest { int64 kitchen_id = 1; string token = 2; string name = 3; bool junior = 4; } message JoinKitchenResponse {}
		message UpdateRegistrationRequest { string kitchen_name = 1; string name = 2; string email = 3; bool junior = 4; } message UpdateRegistrationResponse {}
		message DeleteRegistrationRequest {} message DeleteRegistrationResponse {}`,
	"fair/cook.proto": `syntax = "proto3"; package fair.cook; import "fair/things.proto";
		message EnqueueDishRequest { string table = 10; } message EnqueueDishResponse { fair.things.Dish dish = 1; }
		message ListDishesRequest {} message ListDishesResponse { repeated fair.things.Dish dishes = 1; } message GetDishQuery { int64 id = 1; } message GetDishResponse { fair.things.Dish dish = 1; }
		message ListQuestionsRequest {} message ListQuestionsResponse { repeated fair.things.Question questions = 1; }
		message RequestQuestionRequest { string text = 1; } message RequestQuestionResponse { fair.things.Question question = 1; }
		message DashboardResponse { fair.things.Board board = 1; }
		message ListNoticesResponse { int64 last_question_id = 1; repeated fair.things.Notice notices = 2; }
		message SubscribeNoticeRequest { string endpoint = 1; string key = 2; string auth = 3; } message SubscribeNoticeResponse {}
		message UnsubscribeNoticeRequest { string endpoint = 1; } message UnsubscribeNoticeResponse {}
		message SignupRequest { string cook_id = 1; string password = 2; } message SignupResponse {}
		message LoginRequest { string cook_id = 1; string password = 2; } message LoginResponse {}
		message LogoutRequest {} message LogoutResponse {}`,
}

// fairParts are the messages within others, in JSON; # is a number.
var fairParts = strings.NewReplacer(
	"DISHES", `[{"id":"#","kitchen_id":"#","state":5,"sent_at":"2026-11-30T12:00:00Z","judged_at":"2026-11-30T12:00:09Z","points":"12#","table":"t#"},{"id":"9","kitchen_id":"#","sent_at":"2026-11-30T12:00:00Z","table":"t#"}]`,
	"DISH", `{"id":"#","kitchen_id":"#","state":5,"sent_at":"2026-11-30T12:00:00Z","judged_at":"2026-11-30T12:00:09Z","points":"12#","table":"t#"}`,
	"QUESTION", `{"id":"#","kitchen_id":"#","answered":true,"open":true,"text":"why #?","answer":"so","asked_at":"2026-11-30T12:00:00Z","kitchen":{"id":"#","name":"kitchen #","head_id":"cook#"}}`,
	"KITCHEN", `{"id":"#","name":"kitchen #","head_id":"cook#","cook_ids":["cook#","b"],"head":{"id":"cook#","kitchen_id":"#","name":"N","junior":true},"cooks":[{"id":"cook#","kitchen_id":"#","name":"N"}]}`,
	"FAIR", `{"opens_at":"2026-11-30T01:00:00Z","closes_at":"2026-11-30T10:00:00Z","state":2,"frozen":true}`,
	"BOARD", `{"rows":[{"best":"12#","last":"11#","count":"3","kitchen":{"id":"#","name":"kitchen #"}}],"juniors":[{"best":"1#","count":"1","kitchen":{"id":"7","name":"x"}}],"fair":{"opens_at":"2026-11-30T01:00:00Z","state":2}}`)

// fairCalls are all calls of the portal: method, path, request and its JSON, response and its JSON.
var fairCalls = [][6]string{
	{"POST", "/initialize", "admin.InitializeRequest", `{"fair":FAIR}`, "admin.InitializeResponse", `{"language":"go","host":"localhost","port":"5005"}`},
	{"GET", "/api/admin/questions", "", "", "admin.ListQuestionsResponse", `{"questions":[QUESTION,QUESTION]}`},
	{"GET", "/api/admin/questions/#", "", "", "admin.GetQuestionResponse", `{"question":QUESTION}`},
	{"PUT", "/api/admin/questions/#", "admin.RespondQuestionRequest", `{"id":"#","open":true,"answer":"so #","text":"why?"}`, "admin.RespondQuestionResponse", `{"question":QUESTION}`},
	{"GET", "/api/session", "", "", "common.GetCurrentSessionResponse", `{"kitchen":KITCHEN,"cook":{"id":"cook#","kitchen_id":"#","name":"N"},"fair":FAIR,"key":"abc"}`},
	{"GET", "/api/audience/kitchens", "", "", "audience.ListKitchensResponse", `{"kitchens":[{"kitchen_id":"#","name":"a","cooks":["x","y"],"junior":true}]}`},
	{"GET", "/api/audience/dashboard", "", "", "audience.DashboardResponse", `{"board":BOARD}`},
	{"GET", "/api/registration/session?kitchen_id=1", "", "", "registration.GetRegistrationSessionResponse", `{"kitchen":KITCHEN,"status":5,"invite_url":"/join?k=#","token":"t#"}`},
	{"POST", "/api/registration/kitchen", "registration.CreateKitchenRequest", `{"kitchen_name":"k#","name":"n#","email":"a#@example.com","junior":true}`, "registration.CreateKitchenResponse", `{"kitchen_id":"#"}`},
	{"POST", "/api/registration/cook", "registration.JoinKitchenRequest", `{"kitchen_id":"#","token":"t","name":"n#","junior":true}`, "registration.JoinKitchenResponse", `{}`},
	{"PUT", "/api/registration", "registration.UpdateRegistrationRequest", `{"kitchen_name":"k#","name":"n#","email":"a#@example.com"}`, "registration.UpdateRegistrationResponse", `{}`},
	{"DELETE", "/api/registration", "registration.DeleteRegistrationRequest", `{}`, "registration.DeleteRegistrationResponse", `{}`},
	{"POST", "/api/cook/dishes", "cook.EnqueueDishRequest", `{"table":"t#"}`, "cook.EnqueueDishResponse", `{"dish":{"id":"#","kitchen_id":"#","sent_at":"2026-11-30T12:00:00Z","table":"t#"}}`},
	{"GET", "/api/cook/dishes", "", "", "cook.ListDishesResponse", `{"dishes":DISHES}`},
	{"GET", "/api/cook/dishes/#", "", "", "cook.GetDishResponse", `{"dish":DISH}`},
	{"GET", "/api/cook/questions", "", "", "cook.ListQuestionsResponse", `{"questions":[QUESTION,QUESTION]}`},
	{"POST", "/api/cook/questions", "cook.RequestQuestionRequest", `{"text":"why #?"}`, "cook.RequestQuestionResponse", `{"question":{"id":"#","kitchen_id":"#","text":"why #?","asked_at":"2026-11-30T12:00:00Z"}}`},
	{"GET", "/api/cook/dashboard", "", "", "cook.DashboardResponse", `{"board":BOARD}`},
	{"GET", "/api/cook/notices?after=1", "", "", "cook.ListNoticesResponse", `{"last_question_id":"#","notices":[{"id":"#","at":"2026-11-30T12:00:00Z","dish_id":"#"},{"id":"#","at":"2026-11-30T12:00:00Z","question_id":"#"}]}`},
	{"POST", "/api/cook/subscriptions", "cook.SubscribeNoticeRequest", `{"endpoint":"https://push/#","key":"k","auth":"x"}`, "cook.SubscribeNoticeResponse", `{}`},
	{"DELETE", "/api/cook/subscriptions", "cook.UnsubscribeNoticeRequest", `{"endpoint":"https://push/#"}`, "cook.UnsubscribeNoticeResponse", `{}`},
	{"POST", "/api/signup", "cook.SignupRequest", `{"cook_id":"cook#","password":"p#"}`, "cook.SignupResponse", `{}`},
	{"POST", "/api/login", "cook.LoginRequest", `{"cook_id":"cook#","password":"p#"}`, "cook.LoginResponse", `{}`},
	{"POST", "/api/logout", "cook.LogoutRequest", `{}`, "cook.LogoutResponse", `{}`},
}

// TestTypesOfAContestsPortal: of a schema as contests have it, of whose 37 bodies few are of one type alone, at least 34 are named right
// from a normal load, and none that is wrong is called sure.
func TestTypesOfAContestsPortal(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "fair"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range fairProtos {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := decode.Compile(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	body := func(name, text string, n int) []byte {
		m := dynamicpb.NewMessage(find(t, schema, "fair."+name))
		if err := protojson.Unmarshal([]byte(strings.ReplaceAll(fairParts.Replace(text), "#", fmt.Sprint(n))), m); err != nil {
			t.Fatal(name, err)
		}
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	l := decode.NewLearner(schema)
	all, right := 0, 0
	for n := 1; n <= 30; n++ {
		for _, c := range fairCalls {
			path := strings.ReplaceAll(c[1], "#", fmt.Sprint(n))
			for d, name := range []string{c[2], c[4]} {
				var data []byte // clients name the type of a body that they leave out
				if name != "" {
					data = body(name, c[3+2*d], n)
				}
				l.Add(c[0], path, decode.Direction(d), 200*d, "application/vnd.google.protobuf", data)
			}
		}
	}
	for _, c := range fairCalls {
		for d, name := range []string{c[2], c[4]} {
			g := l.Guess(c[0], strings.ReplaceAll(c[1], "#", "77"), decode.Direction(d), 200*d)
			if name == "" {
				if want := strings.TrimSuffix(c[4], "Response"); g.Sure && g.Type != "fair."+want+"Request" && g.Type != "fair."+want+"Query" {
					t.Errorf("the empty request of %s %s is called %s for sure", c[0], c[1], g.Type)
				}
				continue
			}
			all++
			switch {
			case g.Type == "fair."+name:
				right++
			case g.Sure:
				t.Errorf("%s %s is called %s for sure, and is %s", c[0], c[1], g.Type, name)
			default:
				t.Logf("%s %s is called %s, and is %s", c[0], c[1], g.Type, name)
			}
		}
	}
	if all != 37 || right < 34 {
		t.Errorf("%d of %d types are named right, want 34 of 37 at least", right, all)
	}
}
