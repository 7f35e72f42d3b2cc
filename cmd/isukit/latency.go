package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"isukit/bench/load"
	"isukit/bench/result"
	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
)

type latencyOptions struct {
	rounds   roundsOptions
	endpoint string
	from, to time.Duration
	sent     bool
}

func newLatencyCmd(s streams) *cobra.Command {
	var o latencyOptions
	cmd := &cobra.Command{
		Use:   "latency [ROUND...]",
		Short: "Print the latencies of a part of a round, or of several rounds",
		Long: `Print latency percentiles of each endpoint and of all requests, over the whole load phase or the seconds from --from to --to. They are
computed from the rounds' histograms, which merge without loss: several rounds give the percentiles of all their requests. ROUND: see
"isukit show --help" (default: last).`,
		Example: `  isukit latency
  isukit latency --from 20s --to 30s
  isukit latency last last-1 last-2 --endpoint "GET /api/leaderboard"`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"last"}
			}
			return runLatency(o, args, s)
		},
	}
	f := cmd.Flags()
	resultsFlag(f, &o.rounds.dir)
	linesFlag(f, &o.rounds.asJSON)
	f.StringVar(&o.endpoint, "endpoint", "", "only endpoints whose name contains this text")
	f.DurationVar(&o.from, "from", 0, "ignore responses before this second of the load phase")
	f.DurationVar(&o.to, "to", 0, "ignore responses from this second on (0: until the end)")
	f.BoolVar(&o.sent, "sent", false, "measure latency from the actual send time, not the scheduled one")
	return cmd
}

// endpointLatency is one line of the answer; times are milliseconds.
type endpointLatency struct {
	Endpoint string  `json:"endpoint"`
	Answered int64   `json:"answered"`
	P50Ms    float64 `json:"p50_ms"`
	P90Ms    float64 `json:"p90_ms"`
	P99Ms    float64 `json:"p99_ms"`
	P999Ms   float64 `json:"p999_ms"`
	MaxMs    float64 `json:"max_ms"`
}

func runLatency(o latencyOptions, queries []string, s streams) error {
	if o.from%time.Second != 0 || o.to%time.Second != 0 || o.from < 0 || o.to < 0 || o.to != 0 && o.to <= o.from {
		return ui.UsageError(fmt.Errorf("--from %v --to %v: not a range of whole seconds", o.from, o.to), `for example "--from 20s --to 30s"`)
	}
	all, merged := load.NewLatencies(), map[string]*load.Latencies{}
	for _, query := range queries {
		if err := o.merge(query, all, merged); err != nil {
			return err
		}
	}
	lines := make([]endpointLatency, 0, len(merged)+1)
	for name, l := range merged {
		lines = append(lines, lineOf(name, l.Latency()))
	}
	slices.SortFunc(lines, func(a, b endpointLatency) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	lines = append(lines, lineOf("all", all.Latency()))
	if o.rounds.asJSON {
		return ui.PrintJSONLines(s.out, lines)
	}
	return printLatencies(s.out, lines)
}

// merge adds a round's intervals that are asked for.
func (o latencyOptions) merge(query string, all *load.Latencies, merged map[string]*load.Latencies) error {
	r, path, err := findRound(o.rounds.dir, query)
	if err != nil {
		return err
	}
	f, err := result.OpenFile(path, round.HistogramsFile)
	if errors.Is(err, os.ErrNotExist) {
		return notTimed(r, "no histograms", "it failed before the load phase, or an older isukit ran it")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for i, err := range load.ReadHistograms(f) {
		if err != nil {
			return fmt.Errorf("latencies of round %s: %w", r.ID, err)
		}
		at := time.Duration(i.At) * time.Second
		if i.FromSent != o.sent || at < o.from || o.to > 0 && at >= o.to || !strings.Contains(i.Endpoint, o.endpoint) {
			continue
		}
		if merged[i.Endpoint] == nil {
			merged[i.Endpoint] = load.NewLatencies()
		}
		merged[i.Endpoint].Merge(i)
		all.Merge(i)
	}
	return nil
}

func lineOf(name string, l load.Latency) endpointLatency {
	ms := func(d time.Duration) float64 { return math.Round(float64(d.Microseconds())) / 1000 }
	return endpointLatency{
		Endpoint: name, Answered: l.Count, P50Ms: ms(l.P50), P90Ms: ms(l.P90), P99Ms: ms(l.P99), P999Ms: ms(l.P999), MaxMs: ms(l.Max),
	}
}

func printLatencies(out io.Writer, lines []endpointLatency) error {
	w := ui.NewNumbers(out)
	fmt.Fprintln(w, "answered\tp50 ms\tp90 ms\tp99 ms\tp99.9 ms\tmax ms\t  endpoint")
	for _, l := range lines {
		fmt.Fprintf(w, "%d\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t  %s\n", l.Answered, l.P50Ms, l.P90Ms, l.P99Ms, l.P999Ms, l.MaxMs, l.Endpoint)
	}
	return w.Flush()
}
