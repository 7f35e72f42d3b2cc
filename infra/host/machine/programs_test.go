package machine_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"isukit/infra/host"
	"isukit/infra/host/hosttest"
	"isukit/infra/host/machine"
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

var programs = map[string]func(args []string) error{"spin": spin, "eat": eat, "flood": flood, "reach": reach, "updown": upDown, "here": helper}

// spin SECONDS prints how much work it did.
func spin(args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	n, sum := 0, [32]byte{}
	for start := time.Now(); time.Since(start) < d; n++ { // clock: it works for so long
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

// flood ADDRESS sends to whoever connects.
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
		for _, wants := range [][]host.Want{{{Name: "s1"}, {Name: "s2", CPUs: 1}}, {{Name: "s3", LinkBitsPerSecond: 1e8}}} {
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
