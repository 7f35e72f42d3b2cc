package topology_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"isukit/infra/topology"
)

func TestDiff(t *testing.T) {
	parse := func(text string) *topology.Topology {
		t.Helper()
		top, err := topology.Parse("t.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return top
	}
	a := parse(`{name: a, hosts: [{name: s1, memory: 1GiB, address: 10.0.0.1}, {name: s2, address: 10.0.0.2}],
		roles: {proxy: [{host: s1, kind: nginx}], web: [{host: s1}, {host: s2}], api: [{host: s1}], db: [{host: s2}]}}`)
	b := parse(`{name: b, hosts: [{name: s1, memory: 2GiB, address: 10.0.0.1}, {name: s3, address: 10.0.0.3}],
		roles: {proxy: [{host: s1, kind: envoy, tls: true}], web: [{host: s1}], api: [{host: s1}], db: [{host: s3, buffer_pool: 256MiB}, {host: s1}]},
		data: {write: durable}, tunings: [mysql/memory]}`)
	want := []string{
		"host s1: 10.0.0.1, 1024 MiB -> 10.0.0.1, 2048 MiB",
		"host s2: 10.0.0.2 -> none",
		"proxy-1: s1, nginx -> s1, envoy, tls",
		"web-2: s2 -> none",
		"db-1: s2, auto -> s3, auto, buffer_pool MiB 256",
		"data.write: default -> durable",
		"tunings: none -> mysql/memory",
		"host s3: none -> 10.0.0.3",
		"db-2: none -> s1, auto",
	}
	if diff := cmp.Diff(want, topology.Diff(a, b)); diff != "" {
		t.Errorf("Diff: -want +got\n%s", diff)
	}
	if got := topology.Diff(a, a); len(got) > 0 {
		t.Errorf("Diff of one with itself: got %q, want nothing", got)
	}
}
