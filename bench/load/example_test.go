package load_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"isukit/bench/load"
)

// Five users ask for a greeting for a second and a half, and hold each answer against what it should be.
func ExampleRun() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello, "+r.URL.Query().Get("name"))
	}))
	defer server.Close()
	origin, err := load.ParseOrigin(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}

	engine := load.NewEngine(load.Options{})
	hello := engine.Endpoint("GET /hello")
	newUser := func(n int) load.User {
		return func(ctx context.Context) {
			client := engine.NewClient(n, "")
			defer client.Close()
			req := load.Request{Endpoint: hello, Origin: origin, Target: fmt.Sprintf("/hello?name=user%d", n)}
			want := fmt.Sprintf("hello, user%d", n)
			for load.Sleep(ctx, 10*time.Millisecond) == nil {
				client.Do(ctx, &req, func(r *load.Response) error {
					if string(r.Body) != want {
						return load.Faultf(load.Wrong, "another user's greeting", "got %q, want %q", r.Body, want)
					}
					return nil
				})
			}
		}
	}

	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	report := load.Run(ctx, load.Users{N: 5}, newUser, engine.Recorder(), nil)
	summary := engine.Recorder().Summary(report.End)
	fmt.Println("users:", report.PeakUsers)
	fmt.Println("endpoint:", summary.Endpoints[0].Name)
	fmt.Println("hits:", summary.Total.OK > 0)
	fmt.Println("errors:", summary.Total.Errors)
	// Output:
	// users: 5
	// endpoint: GET /hello
	// hits: true
	// errors: 0
}
