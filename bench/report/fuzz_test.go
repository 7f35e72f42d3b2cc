package report_test

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"isukit/bench/report"
	"isukit/bench/result"
)

// FuzzReport holds that every round that can be read can be shown.
func FuzzReport(f *testing.F) {
	for _, r := range []*result.Round{passing(), failing(), empty(), hostile(), watched("")} {
		r.ID = "x"
		data, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"format":1,"id":"x","timeline":[{"hits":-1,"errors":9223372036854775807,"p99_ms":1e308,"p50_ms":5e-324,"cores_by_role":{"@":1e308,"b":-1}}],
		"hosts":[{"host":"","cpus":5e-324,"busy":1e308}],"roles":[{"role":"b","mean_cores":1e308}],"score":{"total":-9223372036854775808}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := result.Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		if err := report.HTML(io.Discard, r); err != nil {
			t.Errorf("HTML: %v", err)
		}
		if err := report.Text(io.Discard, r, report.Style{Color: true}); err != nil {
			t.Errorf("Text: %v", err)
		}
		if err := report.List(io.Discard, []result.Entry{{ID: r.ID, Round: r}}, report.Style{}); err != nil {
			t.Errorf("List: %v", err)
		}
		state := report.LiveState{Seconds: r.Timeline, HostCPUs: 1}
		report.Live(state, report.Style{})
		report.Line(state)
	})
}
