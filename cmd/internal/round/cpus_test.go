package round

import (
	"slices"
	"strings"
	"testing"
)

func TestParseCPUs(t *testing.T) {
	tests := []struct {
		text string
		want []int
		says string
	}{
		{"", nil, ""},
		{"0", []int{0}, ""},
		{"0,0-0", []int{0}, ""},
		{"a", nil, "not a list"},
		{"0-", nil, "not a list"},
		{"2-1", nil, "not a list"},
		{"-1", nil, "not a list"},
		{"99999999", nil, "not a list"},
		{"4095", nil, "CPU 4095 does not exist"},
	}
	for _, tt := range tests {
		got, err := parseCPUs(tt.text)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("parseCPUs(%q) = %v, %v, want %v and %q", tt.text, got, err, tt.want, tt.says)
		}
	}
}
