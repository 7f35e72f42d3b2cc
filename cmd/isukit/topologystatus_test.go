package main

import (
	"strings"
	"testing"
	"time"

	"isukit/infra"
)

// TestStatusTable: an instance that was never started was started at no time.
func TestStatusTable(t *testing.T) {
	var out strings.Builder
	err := printStatus(&out, &infra.Status{Driver: "lab", Topology: "single", Complete: true, Hosts: []infra.HostStatus{{Name: "s1", Instances: []infra.InstanceStatus{
		{Name: "web-1", Address: "10.0.0.1:8080", Running: true, Healthy: true, Since: time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)},
		{Name: "api-1", Address: "10.0.0.1:9292", Exit: "not started"},
	}}}})
	if err != nil || !strings.Contains(out.String(), "healthy      2026-11-22 20:00:00\n") || !strings.Contains(out.String(), "not started  -\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
