package session

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadFigures(t *testing.T) {
	tests := []struct {
		name, out string
		want      map[string]float64
		passed    bool
	}{
		{"an object", `{"score": 12.5, "latency": {"p99_ms": 3}, "name": "x", "list": [1]}`, map[string]float64{"score": 12.5, "latency.p99_ms": 3}, true},
		{"over several lines", "{\n \"score\": 7\n}\n", map[string]float64{"score": 7}, true},
		{"the last line that is one", "{\"score\": 1}\nwarming up\n{\"pass\": true, \"score\": 2}\nbye\n", map[string]float64{"score": 2}, true},
		{"not passed", `{"pass": false, "score": 0, "messages": ["timeout"]}`, map[string]float64{"score": 0}, false},
		{"a false inside says nothing", `{"cache": {"passed": false}, "score": 1}`, map[string]float64{"score": 1}, true},
		{"in words", "12:00:01 [ADMIN] SCORE: 1,234 (+ 1300 -66)\n", map[string]float64{"score": 1234}, true},
		{"in words, the last", "score=3\nFinal score 41.5 points\n", map[string]float64{"score": 41.5}, true},
		{"no number", "score: none, underscore 3", map[string]float64{}, true},
		{"null", "null", map[string]float64{}, true},
		{"nothing", "", map[string]float64{}, true},
	}
	for _, tt := range tests {
		passed, got := readFigures(tt.out)
		if d := cmp.Diff(tt.want, got); d != "" || passed != tt.passed {
			t.Errorf("%s: readFigures(%q) passed %v (-want +got):\n%s", tt.name, tt.out, passed, d)
		}
	}
}
