package machine_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/machine"
	"isukit/infra/infratest/hosttest"
)

// The test binary is also what runs on hosts, and the isukit that is killed.
func TestMain(m *testing.M) {
	hosttest.Program()
	if len(os.Args) > 2 {
		if program, ok := programs[os.Args[1]]; ok {
			if err := program(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

var programs = map[string]func(args []string) error{"spin": spin, "eat": eat, "flood": flood, "reach": reach, "updown": upDown, "here": helper,
	"lab": carries, "echo": echo, "turns": turns, "ping": ping, "burst": burst, "sink": sink}

// spin SECONDS prints how much work it did.
func spin(args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	n, sum := 0, [32]byte{}
	for start := time.Now(); time.Since(start) < d; n++ { // clock: it works for this time
		for range 200 {
			sum = sha256.Sum256(sum[:])
		}
	}
	fmt.Println(n)
	return nil
}

// eat BYTES uses that much memory.
func eat(args []string) error {
	var n int
	if _, err := fmt.Sscan(args[0], &n); err != nil {
		return err
	}
	memory := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		memory[i] = 1
	}
	fmt.Println("full")
	time.Sleep(time.Hour)
	return nil
}

// flood ADDRESS sends to all who connect.
func flood(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		for data := make([]byte, 64<<10); err == nil; {
			_, err = conn.Write(data)
		}
		conn.Close()
	}
}

// reach ADDRESS connects within a second.
func reach(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

// upDown keep|own STATEDIR makes a lab with services and takes it down, again and again.
func upDown(args []string) error {
	ctx := context.Background()
	for {
		d, err := machine.OpenLab(machine.Options{StateDir: args[1], Keep: args[0] == "keep"})
		if err != nil {
			return err
		}
		for _, wants := range [][]host.Want{{{Name: "s1"}, {Name: "s2", CPUs: 1, Flaws: host.Flaws{Delay: time.Millisecond}}}, {{Name: "s3", LinkBitsPerSecond: 1e8}}} {
			if err := d.Ensure(ctx, wants); err != nil {
				return err
			}
			h, err := d.Host(wants[0].Name)
			if err != nil {
				return err
			}
			for name, script := range map[string]string{"plain": "exec sleep 1000", "daemon": "setsid sleep 1000 & sleep 1000"} {
				err := h.Start(ctx, host.Service{Name: name, Argv: []string{"sh", "-c", script}, LogFile: filepath.Join(h.About().Dir, "log")})
				if err != nil {
					return err
				}
			}
			if _, err := h.Run(ctx, host.Command{Argv: []string{"true"}}); err != nil {
				return err
			}
		}
		if err := d.Remove(ctx, "s1"); err != nil {
			return err
		}
		if err := d.Down(ctx); err != nil {
			return err
		}
		if err := d.Close(ctx); err != nil {
			return err
		}
		fmt.Println("once more")
	}
}

// carries is what isukit's hidden "lab link" does.
func carries(args []string) error {
	return machine.CarryFrames(args[1], args[2], args[3], os.Stdout)
}

// echo ADDRESS sends back what connections bring.
func echo(args []string) error {
	l, err := net.Listen("tcp", args[0])
	for err == nil {
		var conn net.Conn
		if conn, err = l.Accept(); err == nil {
			go func() { defer conn.Close(); io.Copy(conn, conn) }()
		}
	}
	return err
}

// turns ADDRESS TIME prints how many bytes went there and back one by one, and how long each took in ms: the middle one, and the mean.
func turns(args []string) error {
	within, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	var took []time.Duration
	for start := time.Now(); time.Since(start) < within; { // clock: it works for this time
		began, one := time.Now(), []byte{1}
		if _, err := conn.Write(one); err != nil {
			return err
		}
		if _, err := conn.Read(one); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	fmt.Println(len(took), float64(took[len(took)/2])/1e6, within.Seconds()*1e3/float64(len(took)))
	return nil
}

// ping ADDRESS COUNT APART sends that many echo requests. It prints how many different ones were answered, how many answers came, how many of
// them after the answer to a later one, and how long the shortest, the middle and the longest took in ms.
func ping(args []string) error {
	var count int
	if _, err := fmt.Sscan(args[1], &count); err != nil {
		return err
	}
	apart, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	conn, err := net.Dial("ip4:icmp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	sent, allSent := make([]atomic.Int64, count), atomic.Bool{}
	go func() {
		for n := range sent {
			request := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16([]byte{8, 0, 0, 0}, uint16(os.Getpid())), uint16(n))
			sum := 0x800 + os.Getpid()&0xffff + n
			sum = sum&0xffff + sum>>16
			binary.BigEndian.PutUint16(request[2:], ^uint16(sum))
			sent[n].Store(time.Now().UnixNano())
			conn.Write(request) // what is not sent is not answered
			time.Sleep(apart)
		}
		allSent.Store(true)
		conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	}()
	took, answers, late, latest := map[int]time.Duration{}, 0, 0, -1
	for answer := make([]byte, 1500); ; {
		if allSent.Load() { // it ends when no answer comes any more
			conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		}
		n, _, err := conn.(*net.IPConn).ReadFrom(answer)
		if err != nil {
			break
		}
		if n < 8 || answer[0] != 0 || binary.BigEndian.Uint16(answer[4:]) != uint16(os.Getpid()) {
			continue
		}
		number := int(binary.BigEndian.Uint16(answer[6:]))
		if answers++; number < latest {
			late++
		}
		latest = max(latest, number)
		if _, again := took[number]; !again {
			took[number] = time.Duration(time.Now().UnixNano() - sent[number].Load())
		}
	}
	times := slices.Sorted(maps.Values(took))
	if len(times) == 0 {
		times = []time.Duration{0}
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	fmt.Println(len(took), answers, late, ms(times[0]), ms(times[len(times)/2]), ms(times[len(times)-1]))
	return nil
}

// burst ADDRESS COUNT sends that many datagrams, 50 each millisecond, with their number and when they were sent.
func burst(args []string) error {
	var count int
	if _, err := fmt.Sscan(args[1], &count); err != nil {
		return err
	}
	conn, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	begin := time.Now()
	for n := range count {
		time.Sleep(time.Until(begin.Add(time.Duration(n/50) * time.Millisecond)))
		conn.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 0, 100), uint64(n)), uint64(time.Now().UnixNano())))
	}
	return nil
}

// sink ADDRESS COUNT receives datagrams of burst until none comes for a second. It prints how many came, how many of them after a later one, and how
// long the middle one, and the one of 99 in 100, took in ms.
func sink(args []string) error {
	conn, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.(*net.UDPConn).SetReadBuffer(4 << 20)
	var took []time.Duration
	late, latest := 0, uint64(0)
	for data := make([]byte, 200); ; {
		if len(took) > 0 {
			conn.SetReadDeadline(time.Now().Add(time.Second))
		}
		if _, _, err := conn.ReadFrom(data); err != nil {
			break
		}
		took = append(took, time.Duration(time.Now().UnixNano()-int64(binary.BigEndian.Uint64(data[8:]))))
		number := binary.BigEndian.Uint64(data)
		if number < latest {
			late++
		}
		latest = max(latest, number)
	}
	slices.Sort(took)
	fmt.Println(len(took), late, float64(took[len(took)/2])/1e6, float64(took[len(took)*99/100])/1e6)
	return nil
}
