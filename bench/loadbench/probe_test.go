package loadbench

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"isukit/bench/load"
)

// probeConns is many times what can be under way: a stall's hits and those of the service time.
const probeConns = 2000

// runProbe prints the quantiles of stallQuantiles as an unlimited open loop sees them that begins at a set time.
func runProbe(addr string, at int64, out io.Writer) error {
	latencies, err := probe(addr, time.Unix(0, at))
	if err != nil {
		return err
	}
	var quantiles []time.Duration
	for _, q := range stallQuantiles {
		rank := (len(latencies)*q.permille + 999) / 1000
		quantiles = append(quantiles, latencies[rank-1])
	}
	return json.NewEncoder(out).Encode(quantiles)
}

// probe returns the sorted latencies of an unlimited open loop: connections are made beforehand, each hit has one to itself
// and a goroutine that waits for its answer, and one thread, asleep in the kernel until each is due, sends them.
func probe(addr string, start time.Time) ([]time.Duration, error) {
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
	if late := time.Since(start); late > 0 { // clock: a figure of the benchmark
		return nil, fmt.Errorf("connected %v too late", late)
	}
	latencies := make([]time.Duration, int(stallLength.Seconds()*stallRate))
	var wg sync.WaitGroup
	defer wg.Wait()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it every hit is 50 us late
	for i := range latencies {
		due := start.Add(time.Duration(i) * time.Second / stallRate)
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
