package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"isukit/bench/load"
)

// The stalling server takes serviceTime for every answer, and stops for stallFor at the beginning of every stallEvery. The
// service time is long, so that 3 % of it are more than what the timers and cores of a busy machine add.
const (
	stallEvery  = 2 * time.Second
	stallFor    = 200 * time.Millisecond
	serviceTime = 20 * time.Millisecond
)

// stall loads a server that stops for 200 ms every 2 s at a fixed rate, and holds the reported quantiles against a probe
// that has a goroutine and a connection of its own for every hit.
func stall(ctx context.Context, o options, _ *nginx, out io.Writer) (any, error) {
	const perSec, length = 1000, 10 * time.Second
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var conns sync.WaitGroup
	begin := time.Now()
	conns.Go(func() { serveStalling(l, begin, &conns) })
	url := "http://" + l.Addr().String() + "/"

	// Both run at the same time, so that they meet the same stalls and whatever else the machine does.
	var truth []time.Duration
	var probeErr error
	var probing sync.WaitGroup
	probing.Go(func() { truth, probeErr = probe(l.Addr().String(), perSec, length) })
	rep, s, _, err := openLoop(ctx, url, perSec, length, load.Even)
	probing.Wait()
	l.Close()
	conns.Wait()
	if err := errors.Join(err, probeErr); err != nil {
		return nil, err
	}

	got := s.Total.Latency
	result := map[string]any{"planned": rep.Planned, "errors": s.Total.Errors}
	for _, q := range []struct {
		name string
		q    float64
		got  time.Duration
	}{{"p50", 0.5, got.P50}, {"p90", 0.9, got.P90}, {"p99", 0.99, got.P99}, {"p99.9", 0.999, got.P999}} {
		want := truth[int(math.Ceil(q.q*float64(len(truth))))-1]
		ratio := q.got.Seconds() / want.Seconds()
		fmt.Fprintf(out, "stalling server, %s: reported %v, probe %v, ratio %.3f\n", q.name, q.got, want, ratio)
		result[q.name] = map[string]any{"reported_ms": q.got.Seconds() * 1e3, "probe_ms": want.Seconds() * 1e3, "ratio": ratio}
	}
	return result, nil
}

func serveStalling(l net.Listener, begin time.Time, conns *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
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

// probeConns is many times what can be under way: a stall's hits and those of the service time.
const probeConns = 2000

// probe returns the sorted latencies of an unlimited open loop: connections are made beforehand, each hit has one to itself
// and a goroutine that waits for its answer, and one thread, asleep in the kernel until each is due, sends them.
func probe(addr string, perSec int, length time.Duration) ([]time.Duration, error) {
	if err := load.RaiseFileLimit(2*probeConns + 1000); err != nil {
		return nil, err
	}
	free := make(chan net.Conn, probeConns)
	for range probeConns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		free <- c
	}
	latencies := make([]time.Duration, int(length.Seconds()*float64(perSec)))
	start := time.Now().Add(100 * time.Millisecond)
	var wg sync.WaitGroup
	defer wg.Wait()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for i := range latencies {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(perSec))
		ts := unix.NsecToTimespec(int64(max(time.Until(due), 0)))
		unix.Nanosleep(&ts, nil)
		var c net.Conn
		select {
		case c = <-free:
		default:
			return nil, fmt.Errorf("more than %d hits under way", probeConns)
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: probe\r\n\r\n")
		wg.Go(func() {
			latencies[i] = time.Hour // for a connection that fails
			if _, err := c.Read(make([]byte, 100)); err == nil {
				latencies[i] = time.Since(due)
				free <- c
			}
		})
	}
	wg.Wait()
	slices.Sort(latencies)
	return latencies, nil
}
