package tune_test

import (
	"strings"
	"testing"

	"isukit"
	"isukit/infra/tune"
)

func TestShippedTunings(t *testing.T) {
	c, err := tune.Load(isukit.Assets)
	if err != nil {
		t.Fatal(err)
	}
	settings, risky := 0, 0
	for _, tuning := range c.Tunings {
		settings += len(tuning.Settings)
		if len(tuning.Risks()) > 0 {
			risky++
		}
	}
	if settings < 40 || risky < 4 {
		t.Errorf("%d settings, %d risky tunings; want 40 and 4 at least", settings, risky)
	}
	for _, name := range []string{"sysctl/ports", "sysctl/backlog", "mysql/memory", "mysql/durability-relaxed", "mysql/query-cache",
		"mysql/no-binlog", "nginx/keepalive", "nginx/cache", "nginx/logs-off", "limits/nofile", "measure", "final"} {
		if _, err := c.Resolve([]string{name}); err != nil {
			t.Error(err)
		}
	}
	all, err := c.Resolve([]string{"measure", "final", "mysql/final"})
	if err != nil || len(all) != 6 {
		t.Errorf("measure, final and mysql/final again: %d tunings, %v; want 6", len(all), err)
	}
	if _, err := c.Resolve([]string{"nope", "mysql/nope"}); err == nil || !strings.Contains(err.Error(), `"nope"`) || !strings.Contains(err.Error(), `"mysql/nope"`) {
		t.Errorf("unknown names: %v; want both named", err)
	}
}
