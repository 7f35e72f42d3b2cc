package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"isukit/infra"
	"isukit/infra/topologies"
	"isukit/infra/topology"
)

// initializeBench has the app fill its tables.
func initializeBench(t *testing.T, b *labBench, r *infra.Running) {
	t.Helper()
	web := b.instance(r, "web-1")
	client := http.Client{Transport: &http.Transport{DialContext: r.Dial(), DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Post("http://"+web.Addr+"/initialize", "application/protobuf", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("POST /initialize: status %d: %s", resp.StatusCode, body)
	}
}

// twin is a shipped topology whose proxy has a fifth of a CPU, and everything behind it enough.
func twin(t *testing.T, name string) *topology.Topology {
	t.Helper()
	text, err := topologies.Files.ReadFile(name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	small := strings.NewReplacer("cpus: 1", "cpus: 0.2", "cpus: 2", "cpus: 1.3").Replace(string(text))
	top, err := topology.Parse(name+".yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// proxyLoads are what the proxies are asked for.
var proxyLoads = []struct{ name, target string }{
	{"static page", "/"},
	{"leaderboard from its cache", "/api/leaderboard"},
	{"passed on to the app", "/api/session"},
}

// proxyLine is a line of the table of make bench-proxy.
type proxyLine struct {
	Load       string     `json:"load"`
	TLS        bool       `json:"tls"`
	NginxHits  float64    `json:"nginx_hits_per_s"`
	EnvoyHits  float64    `json:"envoy_hits_per_s"`
	NginxCPU   float64    `json:"nginx_cpu_ms_per_1000_hits"`
	EnvoyCPU   float64    `json:"envoy_cpu_ms_per_1000_hits"`
	NginxBusy  float64    `json:"nginx_host_busy"` // ratio; of the last round
	EnvoyBusy  float64    `json:"envoy_host_busy"`
	HitsRatio  benchRatio `json:"hits_ratio"`
	CPUPerHits benchRatio `json:"cpu_ratio"`
}

// TestBenchProxy measures the shipped twins, Envoy and nginx with TLS and without: hits/s and CPU per 1,000 hits of three
// kinds, by 32 users with a connection each for 2 s at a time, swapped in random order. make bench-proxy runs it.
func TestBenchProxy(t *testing.T) {
	rounds := benchRounds(t)
	b := newLabBench(t)
	hits, cpu, busy := map[string][]float64{}, map[string][]float64{}, map[string]float64{}
	names := []string{"nginx", "envoy", "nginx-tls", "envoy-tls"}
	for round := range rounds {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for n, name := range names {
			r := b.apply(twin(t, name))
			if round == 0 && n == 0 {
				initializeBench(t, b, r)
			}
			proxy := b.instance(r, "proxy-1")
			for _, l := range proxyLoads {
				got := b.load(r, r.BaseURL, l.target, 32, 2*time.Second, proxy)
				key := name + " " + l.name
				hits[key] = append(hits[key], got.hitsPerSec)
				cpu[key] = append(cpu[key], got.cpu.Seconds()*1e3/float64(got.ok)*1e3)
				busy[key] = got.busy
				t.Logf("%-10s %-27s %6.0f hits/s %6.1f ms of CPU per 1,000 hits, busy to %.2f", name, l.name, got.hitsPerSec, cpu[key][round], got.busy)
			}
		}
	}
	var lines []proxyLine
	for _, secure := range []bool{false, true} {
		for _, l := range proxyLoads {
			suffix := map[bool]string{true: "-tls "}[secure]
			if suffix == "" {
				suffix = " "
			}
			n, e := "nginx"+suffix+l.name, "envoy"+suffix+l.name
			line := proxyLine{Load: l.name, TLS: secure, NginxBusy: busy[n], EnvoyBusy: busy[e], HitsRatio: ratioOf("hits/s, Envoy / nginx", hits[n], hits[e]), CPUPerHits: ratioOf("CPU per hit, Envoy / nginx", cpu[n], cpu[e])}
			line.NginxHits, line.EnvoyHits, line.NginxCPU, line.EnvoyCPU = line.HitsRatio.A, line.HitsRatio.B, line.CPUPerHits.A, line.CPUPerHits.B
			lines = append(lines, line)
		}
	}
	fmt.Print(proxyTable(lines))
	writeBench(t, map[string]any{"failed_applies": b.failed, "bench": "proxy", "rounds": rounds, "lines": lines})
}

// proxyTable is the table of the README.
func proxyTable(lines []proxyLine) string {
	var w strings.Builder
	fmt.Fprintln(&w, "| request | TLS | nginx hits/s | Envoy hits/s | Envoy / nginx | nginx CPU ms per 1,000 hits | Envoy CPU ms per 1,000 hits | Envoy / nginx |")
	fmt.Fprintln(&w, "|---|---|---|---|---|---|---|---|")
	for _, l := range lines {
		secure := map[bool]string{true: "yes", false: "no"}[l.TLS]
		fmt.Fprintf(&w, "| %s | %s | %.0f | %.0f | %.2f (%.2f to %.2f) | %.0f | %.0f | %.2f (%.2f to %.2f) |\n", l.Load, secure,
			l.NginxHits, l.EnvoyHits, l.HitsRatio.Ratio, l.HitsRatio.Low, l.HitsRatio.High,
			l.NginxCPU, l.EnvoyCPU, l.CPUPerHits.Ratio, l.CPUPerHits.Low, l.CPUPerHits.High)
	}
	return w.String()
}
