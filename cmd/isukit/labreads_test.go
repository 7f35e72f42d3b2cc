package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"isukit/infra/topology"
)

// readsTopology has the app on a host of its own, and databases with the same tables on hosts of 0.4 CPU each, next to it or half a millisecond
// away.
func readsTopology(t *testing.T, databases int, far bool) *topology.Topology {
	t.Helper()
	var hosts, dbs strings.Builder
	for n := range databases {
		fmt.Fprintf(&hosts, ", {name: s%d, cpus: 0.4, memory: 1GiB, address: 10.77.0.1%d%s}", n+2, n+2, map[bool]string{true: ", link: {delay: 0.5ms}"}[far])
		fmt.Fprintf(&dbs, "{host: s%d, engine: mariadb}, ", n+2)
	}
	text := fmt.Sprintf("{name: reads-%d, hosts: [{name: s1, cpus: 1, memory: 1GiB, address: 10.77.0.11}%s], "+
		"roles: {proxy: [{host: s1}], web: [{host: s1}], api: [{host: s1}], db: [%s]}}", databases, hosts.String(), strings.TrimSuffix(dbs.String(), ", "))
	top, err := topology.Parse("reads.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// readsTarget is how many times the throughput of one database two are to give.
const readsTarget = 1.7

// TestBenchLab measures what a second replica gives: GET /api/leaderboard, the app's heavy read, by 32 users for 4 s at a
// time, straight from the app, over one database and over two, each held to 0.4 CPU, next to the app and half a millisecond away, in random order.
// make bench-lab runs it.
func TestBenchLab(t *testing.T) {
	rounds := benchRounds(t)
	b := newLabBench(t)
	type side struct {
		databases int
		far       bool
	}
	sides := []side{{1, false}, {2, false}, {1, true}, {2, true}}
	seen := map[side][]float64{}
	for round := range rounds {
		rand.Shuffle(len(sides), func(i, j int) { sides[i], sides[j] = sides[j], sides[i] })
		for _, s := range sides {
			r := b.apply(readsTopology(t, s.databases, s.far))
			if round == 0 && len(seen) == 0 {
				initializeBench(t, b, r)
			}
			web := b.instance(r, "web-1")
			b.load(r, "http://"+web.Addr, "/api/leaderboard", 32, time.Second, web) // the buffer pools are warm again
			got := b.load(r, "http://"+web.Addr, "/api/leaderboard", 32, 4*time.Second, b.instance(r, "db-1"))
			t.Logf("%d database(s), far: %t: %.0f reads/s, db-1's host busy to %.2f, generator %.2f CPUs", s.databases, s.far, got.hitsPerSec, got.busy, got.generator)
			seen[s] = append(seen[s], got.hitsPerSec)
		}
	}
	ratio := ratioOf("reads/s over two databases / over one", seen[side{1, false}], seen[side{2, false}])
	ratio.Target = readsTarget
	far := ratioOf("the same, databases 0.5 ms away", seen[side{1, true}], seen[side{2, true}])
	away := ratioOf("reads/s over two databases, 0.5 ms away / beside the app", seen[side{2, false}], seen[side{2, true}])
	writeBench(t, map[string]any{"failed_applies": b.failed, "bench": "lab", "ratios": []benchRatio{ratio, far, away}})
	for _, one := range []benchRatio{ratio, far, away} {
		t.Logf("%s: %.0f and %.0f, %.2f times (%.2f to %.2f)", one.Name, one.A, one.B, one.Ratio, one.Low, one.High)
	}
	if ratio.Ratio < readsTarget {
		t.Errorf("two databases gave %.2f times the reads of one, want %.1f", ratio.Ratio, readsTarget)
	}
}
