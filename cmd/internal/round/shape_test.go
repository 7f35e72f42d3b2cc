package round

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"isukit/bench/load"
)

func TestParseShape(t *testing.T) {
	tests := []struct {
		text  string
		want  any // a load.Shape or a load.Rate
		users int
		says  string // of the error
	}{
		{"rate=100", load.Rate{PerSec: 100}, 0, ""},
		{"rate=0", nil, 0, "must be a rate"},
		{"rate=Inf", nil, 0, "must be a rate"},
		{"rate=NaN", nil, 0, "must be a rate"},
		{"grow", &load.Grow{}, 0, ""},
		{"users=20", load.Users{N: 20}, 20, ""},
		{"ramp=10-200/20s", load.UserRamp{From: 10, To: 200, Over: 20 * time.Second}, 200, ""},
		{"steps=50/10s,100/1m", load.UserSteps{{Users: 50, For: 10 * time.Second}, {Users: 100, For: time.Minute}}, 100, ""},
		{"steps=50/10s,100", load.UserSteps{{Users: 50, For: 10 * time.Second}, {Users: 100}}, 100, ""},
		{"", nil, 0, "one of grow"},
		{"grow=3", nil, 0, "one of grow"},
		{"users=0", nil, 0, "must be a number of users"},
		{"users=1000000", nil, 0, "must be a number of users"},
		{"ramp=10-200", nil, 0, "must be a time"},
		{"ramp=200-10/20s", nil, 0, "can only grow"},
		{"steps=", nil, 0, "must be a number of users"},
		{"steps=50,100/10s", nil, 0, "must be a time"},
		{"steps=50/10s,40/10s", nil, 0, "can only grow"},
		{"capacity", nil, 0, ""},
		{"capacity=5", nil, 0, "takes no value"},
	}
	for _, tt := range tests {
		shape, err := parseShape(tt.text)
		got, users := any(shape.users), shape.maxUsers
		if shape.rate.PerSec > 0 {
			got = shape.rate
		}
		if !reflect.DeepEqual(got, tt.want) || users != tt.users || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("parseShape(%q) = %#v, %d, %v, want %#v, %d, %q", tt.text, got, users, err, tt.want, tt.users, tt.says)
		}
	}
}
