package decode_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	routes "isukit/proto"
	"isukit/proto/decode"
)

const shopProto = `syntax = "proto3"; package shop.v1;
	message Item { int64 id = 1; string name = 2; repeated string tags = 3; }
	message ListItemsResponse { repeated Item items = 1; int32 total = 2; }
	message GetItemResponse { Item item = 1; }
	message CreateItemRequest { string name = 1; repeated string tags = 2; }
	message CreateItemResponse { Item item = 1; }
	message UpdateItemRequest { string name = 1; repeated string tags = 2; }
	message UpdateItemResponse {}
	message ListOrdersResponse { repeated Order orders = 1; }
	message Order { int64 id = 1; int64 item_id = 2; bool paid = 3; }
	message CreateOrderRequest { int64 item_id = 1; int32 count = 2; }
	message CreateOrderResponse { int64 id = 1; }
	message LoginRequest { string name = 1; string password = 2; }
	message LoginResponse {}
	message Error { int32 code = 1; string message = 2; }`

// shopRoutes are what the shop's paths carry: method, path, request, response.
var shopRoutes = [][4]string{
	{"GET", "/api/items?page=2", "", "ListItemsResponse"},
	{"GET", "/api/items/17", "", "GetItemResponse"},
	{"POST", "/api/items", "CreateItemRequest", "CreateItemResponse"},
	{"PUT", "/api/items/9", "UpdateItemRequest", "UpdateItemResponse"},
	{"GET", "/api/orders", "", "ListOrdersResponse"},
	{"POST", "/api/orders", "CreateOrderRequest", "CreateOrderResponse"},
	{"POST", "/login", "LoginRequest", "LoginResponse"},
}

// TestRoutesAreLearned: from twenty rounds of a shop's traffic every type is named right, and none is called sure that is wrong.
func TestRoutesAreLearned(t *testing.T) {
	schema := compile(t, shopProto)
	rnd := rand.New(rand.NewPCG(3, 4))
	l := decode.NewLearner(schema)
	for range 20 {
		for _, r := range shopRoutes {
			for d, name := range r[2:] {
				if name != "" {
					l.Add(r[0], r[1], decode.Direction(d), 200*d, "application/x-protobuf", shopBody(t, schema, name, rnd))
				}
			}
		}
	}
	sure := 0
	for _, r := range shopRoutes {
		for d, name := range r[2:] {
			g := l.Guess(r[0], r[1], decode.Direction(d), 200*d)
			if want := "shop.v1." + name; name != "" && g.Type != want || name == "" && g.Type != "" {
				t.Errorf("%s %s: %+v, want %s", r[0], r[1], g, want)
			}
			if g.Sure {
				sure++
			}
		}
	}
	if sure < 8 {
		t.Errorf("%d of 11 types are sure, want 8 at least", sure)
	}
	if g := l.Guess("GET", "/api/items/5", decode.Response, 404); g.Type != "shop.v1.Error" {
		t.Errorf("an answer of status 404: %+v, want the only error", g)
	}
	var lines []string
	for _, r := range l.Routes() {
		lines = append(lines, r.Method+" "+r.Path)
	}
	if got, want := strings.Join(lines, ", "), "GET /api/items, POST /api/items, GET /api/items/{id}, PUT /api/items/{id}, GET /api/orders, POST /api/orders, POST /login"; got != want {
		t.Errorf("routes are %s, want %s", got, want)
	}
}

// TestNamesInPathsAreFound: segments that users chose are one route, of whatever looks; words of the program are not, whether types are named
// after them or not.
func TestNamesInPathsAreFound(t *testing.T) {
	schema := compile(t, shopProto)
	rnd := rand.New(rand.NewPCG(5, 6))
	l := decode.NewLearner(schema)
	add := func(method, path, request, response string) {
		for d, name := range []string{request, response} {
			if name != "" {
				l.Add(method, path, decode.Direction(d), 200*d, "application/x-protobuf", shopBody(t, schema, name, rnd))
			}
		}
	}
	for _, user := range []string{"alice", "bob-the-2nd", "@carol", "dave.smith", "%E6%A4%85%E5%AD%90", "椅子"} {
		add("GET", "/users/"+user, "", "GetItemResponse")
		add("GET", "/users/"+user+"/orders?page=2", "", "ListOrdersResponse")
		add("POST", "/users/"+user+"/orders", "CreateOrderRequest", "CreateOrderResponse")
	}
	for i, file := range []string{"12.jpg", "13.jpg", "deadbeef01234567.png", "0191f3c2-7d1e-7000-8000-00000000000a"} {
		add("GET", fmt.Sprintf("/photos/%s", file), "", []string{"GetItemResponse", "GetItemResponse", "ListOrdersResponse", "ListItemsResponse"}[i])
	}
	// Neither trends, ranking nor me is in the name of a type, and their types differ.
	add("GET", "/home/trends", "", "ListItemsResponse")
	add("GET", "/home/ranking", "", "ListOrdersResponse")
	add("GET", "/home/me", "", "ListItemsResponse")
	var lines []string
	for _, r := range l.Routes() {
		lines = append(lines, fmt.Sprintf("%s %s %s %s %d", r.Method, r.Path, strings.TrimPrefix(r.Request.Type, "shop.v1."), strings.TrimPrefix(r.Response.Type, "shop.v1."), r.Response.Bodies))
	}
	want := []string{
		"GET /home/me  ListItemsResponse 1", "GET /home/ranking  ListOrdersResponse 1", "GET /home/trends  ListItemsResponse 1",
		"GET /photos/{hex}.png  ListOrdersResponse 1", "GET /photos/{id}.jpg  GetItemResponse 2", "GET /photos/{uuid}  ListItemsResponse 1",
		"GET /users/@{slug}  GetItemResponse 1", "GET /users/@{slug}/orders  ListOrdersResponse 1", "POST /users/@{slug}/orders CreateOrderRequest CreateOrderResponse 1",
		"GET /users/{slug}  GetItemResponse 5", "GET /users/{slug}/orders  ListOrdersResponse 5", "POST /users/{slug}/orders CreateOrderRequest CreateOrderResponse 5",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	// What is learned is found again for a name that was not seen, and read back from a routes file.
	if g := l.Guess("GET", "/users/erin/orders", decode.Response, 200); g.Type != "shop.v1.ListOrdersResponse" {
		t.Errorf("another user's orders: %+v", g)
	}
	routes, err := routes.ParseRoutes(strings.NewReader("GET\t/photos/{id}.jpg\t-\ta.A\nGET\t/users/@{slug}\t-\ta.B\n"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/photos/7.jpg": "a.A", "/photos/7.png": "", "/photos/.jpg": "", "/users/@x": "a.B", "/users/x": "", "/users/@": ""} {
		if r, _ := routes.Match("GET", path); r.Response != want {
			t.Errorf("%s is %q, want %q", path, r.Response, want)
		}
	}
}

// TestDamagedBodiesTeachNothing: bodies that are damaged, or have an odd value, rule out no type, wherever they come.
func TestDamagedBodiesTeachNothing(t *testing.T) {
	schema := compile(t, shopProto)
	rnd := rand.New(rand.NewPCG(7, 8))
	for _, bad := range [][]byte{{0x0a, 0x7f, 1}, {0xff, 0xff}, {0x0a, 0x02, 0x08, 0x01, 0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8}} {
		for at := range 4 {
			l := decode.NewLearner(schema)
			for i := range 4 {
				if i == at {
					l.Add("GET", "/api/orders", decode.Response, 200, "application/protobuf", bad)
				}
				l.Add("GET", "/api/orders", decode.Response, 200, "application/protobuf", shopBody(t, schema, "ListOrdersResponse", rnd))
			}
			if g := l.Guess("GET", "/api/orders", decode.Response, 200); g.Type != "shop.v1.ListOrdersResponse" {
				t.Errorf("%x as body %d: %+v", bad, at, g)
			}
		}
	}
}

// shopBody is a message of a type with values as an app has them.
func shopBody(t *testing.T, schema *decode.Schema, name string, rnd *rand.Rand) []byte {
	t.Helper()
	args := map[string][]string{
		"ListItemsResponse": {"items[0].id=5", "items[0].name=a", "items[1].id=6", "items[1].tags=x", fmt.Sprintf("total=%d", 2+rnd.IntN(100))},
		"GetItemResponse":   {fmt.Sprintf("item.id=%d", 1+rnd.IntN(100)), "item.name=chair", "item.tags=wood"},
		"CreateItemRequest": {"name=table", "tags=new", "tags=oak"}, "CreateItemResponse": {"item.id=9", "item.name=table"},
		"UpdateItemRequest": {"name=desk", "tags=old"}, "UpdateItemResponse": nil,
		"ListOrdersResponse": {"orders[0].id=1", "orders[0].item_id=3", "orders[0].paid=true"},
		"CreateOrderRequest": {"item_id=3", fmt.Sprintf("count=%d", 1+rnd.IntN(9))}, "CreateOrderResponse": {fmt.Sprintf("id=%d", 1+rnd.IntN(1000))},
		"LoginRequest": {"name=isucon", "password=secret12"}, "LoginResponse": nil,
	}[name]
	m, err := decode.EncodeFields(find(t, schema, "shop.v1."+name), args, schema)
	if err != nil {
		t.Fatal(err)
	}
	data, err := decode.Wire(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestServicesNameRoutes: google.api.http and gRPC's own paths name the types for sure.
func TestServicesNameRoutes(t *testing.T) {
	schema := compile(t, `syntax = "proto3"; package t;
		import "google/protobuf/descriptor.proto";
		message HttpRule { string get = 2; string put = 3; string post = 4; string body = 7; repeated HttpRule additional_bindings = 11; }
		extend google.protobuf.MethodOptions { HttpRule http = 72295728; }
		message In { int64 id = 1; } message Out { int64 id = 1; } message Other { int64 id = 1; }
		service Shop { rpc Get(In) returns (Out) { option (http) = { get: "/v1/{name=shops/*}/item" additional_bindings { post: "/v1/things" body: "*" } }; } }`)
	m := dynamicpb.NewMessage(find(t, schema, "Out"))
	m.Set(m.Descriptor().Fields().ByName("id"), m.NewField(m.Descriptor().Fields().ByName("id")))
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, 8, 7)
	l := decode.NewLearner(schema)
	for _, at := range [][2]string{{"GET", "/v1/shops/12/item"}, {"POST", "/v1/things"}, {"POST", "/t.Shop/Get"}} {
		l.Add(at[0], at[1], decode.Response, 200, "application/protobuf", data)
		if g := l.Guess(at[0], at[1], decode.Response, 200); g.Type != "t.Out" || !g.Sure {
			t.Errorf("%s %s: %+v, want t.Out for sure", at[0], at[1], g)
		}
	}
}
