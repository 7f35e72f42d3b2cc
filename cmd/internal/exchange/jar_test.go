package exchange

import "testing"

// TestCookiePaths has the cases of RFC 6265, 5.1.4.
func TestCookiePaths(t *testing.T) {
	for _, tt := range []struct {
		request, path string
		want          bool
	}{
		{"/api", "/api", true}, {"/api/teams", "/api", true}, {"/api/teams", "/api/", true}, {"/apix", "/api", false},
		{"/api", "/api/", false}, {"/", "/", true}, {"/x", "/", true}, {"/x", "/api", false},
	} {
		if got := below(tt.request, tt.path); got != tt.want {
			t.Errorf("a cookie of %s goes to %s: %v, want %v", tt.path, tt.request, got, tt.want)
		}
	}
}
