package round

import (
	"strings"
	"testing"

	"isukit/infra/host"
	"isukit/infra/topology"
)

func TestLinkFaultsAreRead(t *testing.T) {
	top := &topology.Topology{Name: "two", Hosts: []topology.Host{{Name: "s1"}, {Name: "s2"}}}
	list, err := Options{Driver: "lab", Faults: []string{"s2 at=5s for=3s loss=5% way=in", "s1 for=1s stall"}}.linkFaults(top)
	if err != nil || len(list) != 2 || list[0].host != "s2" || list[0].at != 5e9 || list[0].long != 3e9 || list[0].Flaws != (host.Flaws{Loss: 0.05, Way: "in"}) || !list[1].Stall {
		t.Errorf("got %+v, %v", list, err)
	}
	for text, says := range map[string]string{
		"": "begins with a host", "s3 for=1s cut": `no host "s3"`, "s1 cut": "for=TIME", "s1 for=1s": "no fault", "s1 for=1s loss=x": `loss "x"`,
		"s1 for=1s cut at=-1s": "for=TIME", "s1 for=1s speed=1": "unknown", "s1 for=x cut": "invalid duration", "s1 for=1s jitter=1s cut": "jitter",
	} {
		if _, err := (Options{Driver: "lab", Faults: []string{text}}).linkFaults(top); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("--fault %q: got %v, want %q", text, err, says)
		}
	}
	if _, err := (Options{Driver: "ssh", Faults: []string{"s1 for=1s cut"}}).linkFaults(top); err == nil || !strings.Contains(err.Error(), "--driver lab") {
		t.Errorf("--fault with --driver ssh: got %v", err)
	}
}
