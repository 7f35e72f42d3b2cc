package host

import (
	"fmt"
	"net"
	"runtime"
	"testing"
)

func TestFreePortIsNobodyElses(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d was handed out twice", port)
		}
		seen[port] = true
		if runtime.GOOS != "linux" {
			continue
		}
		if l, err := net.Listen("unix", fmt.Sprintf("@isukit-port-%d", port)); err == nil {
			l.Close()
			t.Fatalf("another process could take port %d, too", port)
		}
	}
}
