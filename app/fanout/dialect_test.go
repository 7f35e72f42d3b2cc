package fanout

import "testing"

func TestLaterByDomain(t *testing.T) {
	tests := []struct{ a, b, want string }{
		{"", "", ""},
		{"", "0-1-5", "0-1-5"},
		{"0-1-5", "", "0-1-5"},
		{"0-1-5", "0-2-10", "0-2-10"},
		{"0-1-10", "0-1-9", "0-1-10"},
		{"0-1-10,3-1-4", "3-1-5", "0-1-10,3-1-5"},
		{"garbage", "0-1-1", "0-1-1"},
	}
	for _, tt := range tests {
		if got := laterByDomain(tt.a, tt.b); got != tt.want {
			t.Errorf("laterByDomain(%q, %q) = %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}
