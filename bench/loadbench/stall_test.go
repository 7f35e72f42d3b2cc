package loadbench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"isukit/bench/load"
)

// The stalling server takes serviceTime for every answer, and stops for stallFor at the beginning of every stallEvery. The
// service time is long, so that 3 % of it are more than what the timers and cores of a busy machine add.
const (
	stallEvery  = 2 * time.Second
	stallFor    = 200 * time.Millisecond
	serviceTime = 20 * time.Millisecond
)

// How the stalling server is loaded: for whole periods, as often as stallRepeats.
const (
	stallRate    = 1000 // hits a second
	stallLength  = 5 * stallEvery
	stallRepeats = 3
)

// stallQuantiles are those that are compared, as parts of 1,000.
var stallQuantiles = [...]struct {
	name     string
	permille int
	of       func(load.Latency) time.Duration
}{
	{"p50", 500, func(l load.Latency) time.Duration { return l.P50 }},
	{"p90", 900, func(l load.Latency) time.Duration { return l.P90 }},
	{"p99", 990, func(l load.Latency) time.Duration { return l.P99 }},
	{"p99.9", 999, func(l load.Latency) time.Duration { return l.P999 }},
}

// stall loads a server that stops for 200 ms every 2 s at a fixed rate, and holds the reported quantiles against a probe
// that has a goroutine and a connection of its own for every hit. Server, probe and engine are processes of their own, so
// that none waits for another's goroutines; the last two run at the same time, so that they meet the same stalls and whatever
// else the machine does.
func stall(ctx context.Context, _ options, _ *nginx, out io.Writer) (any, error) {
	ratios := map[string][]float64{}
	for range stallRepeats {
		truth, got, err := stallOnce(ctx)
		if err != nil {
			return nil, err
		}
		for i, q := range stallQuantiles {
			ratio := q.of(got).Seconds() / truth[i].Seconds()
			fmt.Fprintf(out, "stalling server, %s: reported %v, probe %v, ratio %.3f\n", q.name, q.of(got), truth[i], ratio)
			ratios[q.name] = append(ratios[q.name], ratio)
		}
	}
	result := map[string]any{}
	for _, q := range stallQuantiles {
		r := middle(ratios[q.name])
		result[q.name] = r
		judge(out, "stall: "+q.name+" within 3 % of the probe's, median of 3", r >= 0.97 && r <= 1.03, "%+.1f %%", 100*(r-1))
	}
	return result, nil
}

// stallOnce returns the probe's quantiles, in the order of stallQuantiles, and the engine's.
func stallOnce(ctx context.Context) (truth []time.Duration, got load.Latency, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	server, serverOut, err := startSelf(ctx, "-role", "stall-server")
	if err != nil {
		return nil, got, err
	}
	defer server.Wait()
	defer cancel()
	said, err := serverOut.ReadString('\n')
	if err != nil {
		return nil, got, fmt.Errorf("stalling server: %w", err)
	}
	addr, begun, _ := strings.Cut(strings.TrimSpace(said), " ")
	ns, err := strconv.ParseInt(begun, 10, 64)
	if err != nil {
		return nil, got, err
	}
	// In the middle between two stalls, two seconds from now at least.
	begin := time.Unix(0, ns)
	start := begin.Add((time.Since(begin) + 2*stallEvery).Truncate(stallEvery) + stallEvery/2)
	probe, probeOut, err := startSelf(ctx, "-role", "probe", "-target", addr, "-at", strconv.FormatInt(start.UnixNano(), 10))
	if err != nil {
		return nil, got, err
	}
	defer probe.Wait()
	time.Sleep(time.Until(start))
	_, s, _, err := openLoop(ctx, "http://"+addr+"/", stallRate, stallLength, load.Even)
	if err != nil {
		return nil, got, err
	}
	if s.Total.Errors > 0 {
		return nil, got, fmt.Errorf("%d errors, such as %s", s.Total.Errors, s.Errors[0].Example)
	}
	if err := json.NewDecoder(probeOut).Decode(&truth); err != nil {
		return nil, got, fmt.Errorf("probe: %w", err)
	}
	return truth, s.Total.Latency, nil
}

// startSelf starts this program in another role; it ends with ctx at the latest, or with this process.
func startSelf(ctx context.Context, args ...string) (*exec.Cmd, *bufio.Reader, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	// Not by Pdeathsig: that is about the thread that forks, and the engine ends threads.
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	return cmd, bufio.NewReader(out), cmd.Start()
}

// endWithParent ends the process with its parent.
func endWithParent() {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
}

// serveStalls is the stalling server: it prints its address and when it began, and serves until it is killed.
func serveStalls(out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	begin := time.Now()
	fmt.Fprintf(out, "%s %d\n", l.Addr(), begin.UnixNano())
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		conns.Go(func() {
			defer c.Close()
			r := bufio.NewReader(c)
			for {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				time.Sleep(max(stallFor-time.Since(begin)%stallEvery, 0) + serviceTime)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		})
	}
}
