package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"isukit/infra/topology"
)

// readsTopology has the app on a host of its own, and databases with the same tables on hosts of 0.4 CPU each.
func readsTopology(t *testing.T, databases int) *topology.Topology {
	t.Helper()
	var hosts, dbs strings.Builder
	for n := range databases {
		fmt.Fprintf(&hosts, ", {name: s%d, cpus: 0.4, memory: 1GiB, address: 10.77.0.1%d}", n+2, n+2)
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
// time, straight from the app, over one database and over two, each held to 0.4 CPU, swapped in random order.
// make bench-lab runs it.
func TestBenchLab(t *testing.T) {
	rounds := benchRounds(t)
	b := newLabBench(t)
	seen := map[int][]float64{}
	for round := range rounds {
		order := []int{1, 2}
		rand.Shuffle(2, func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, n := range order {
			r := b.apply(readsTopology(t, n))
			if round == 0 && len(seen) == 0 {
				initializeBench(t, b, r)
			}
			web := b.instance(r, "web-1")
			b.load(r, "http://"+web.Addr, "/api/leaderboard", 32, time.Second, web) // the buffer pools are warm again
			got := b.load(r, "http://"+web.Addr, "/api/leaderboard", 32, 4*time.Second, b.instance(r, "db-1"))
			t.Logf("%d database(s): %.0f reads/s, db-1's host busy to %.2f, generator %.2f CPUs", n, got.hitsPerSec, got.busy, got.generator)
			seen[n] = append(seen[n], got.hitsPerSec)
		}
	}
	ratio := ratioOf("reads/s over two databases / over one", seen[1], seen[2])
	ratio.Target = readsTarget
	writeBench(t, map[string]any{"failed_applies": b.failed, "bench": "lab", "ratios": []benchRatio{ratio}})
	t.Logf("one %.0f, two %.0f reads/s: %.2f times (%.2f to %.2f)", ratio.A, ratio.B, ratio.Ratio, ratio.Low, ratio.High)
	if ratio.Ratio < readsTarget {
		t.Errorf("two databases gave %.2f times the reads of one, want %.1f", ratio.Ratio, readsTarget)
	}
}
