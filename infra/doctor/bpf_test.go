package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// instruction is one of BPF.
type instruction struct {
	code byte
	regs byte // source << 4 | destination
	off  int16
	imm  int32
}

// rewritesHeader loads a program that sets the TOS of every IPv4 packet with bpf_skb_store_bytes and BPF_F_RECOMPUTE_CSUM, and
// pins it: the flag mends the checksum of the packet's payload, not the one of the IP header. It returns the pin's path.
func rewritesHeader(t *testing.T) string {
	t.Helper()
	const recompute = 1
	program := []instruction{
		{0xbf, 0x16, 0, 0},         // r6 = r1, the packet
		{0x61, 0x62, 16, 0},        // r2 = packet.protocol
		{0x55, 0x02, 7, 0x0008},    // unless it is IPv4 (in network order): go to the end
		{0x72, 0x0a, -8, 0x10},     // a byte of the stack = 0x10
		{0xbf, 0x61, 0, 0},         // r1 = packet
		{0xb7, 0x02, 0, 15},        // r2 = 14 + 1: the TOS
		{0xbf, 0xa3, 0, 0},         // r3 = the stack
		{0x07, 0x03, 0, -8},        // ... - 8
		{0xb7, 0x04, 0, 1},         // r4 = one byte
		{0xb7, 0x05, 0, recompute}, // r5 = flags
		{0x85, 0x00, 0, 9},         // bpf_skb_store_bytes
		{0xb7, 0x00, 0, 0},         // r0 = TC_ACT_OK
		{0x95, 0x00, 0, 0},         // exit
	}
	program[2].off = 8
	license := append([]byte("GPL"), 0)
	log := make([]byte, 1<<16)
	load := struct {
		kind, count     uint32
		code, license   uint64
		level, logSize  uint32
		log             uint64
		version, flags  uint32
		name            [16]byte
		ifindex, attach uint32
	}{
		kind: unix.BPF_PROG_TYPE_SCHED_CLS, count: uint32(len(program)), code: address(&program[0]), license: address(&license[0]),
		level: 1, logSize: uint32(len(log)), log: address(&log[0]),
	}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&load)), unsafe.Sizeof(load))
	runtime.KeepAlive(program)
	runtime.KeepAlive(license)
	if errno != 0 {
		t.Fatalf("load the program: %v\n%s", errno, log)
	}
	defer unix.Close(int(fd))
	path := filepath.Join(bpfDirectory(t), fmt.Sprintf("isukit-test-%d", os.Getpid()))
	text := append([]byte(path), 0)
	pin := struct {
		path      uint64
		fd, flags uint32
	}{path: address(&text[0]), fd: uint32(fd)}
	_, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_OBJ_PIN, uintptr(unsafe.Pointer(&pin)), unsafe.Sizeof(pin))
	runtime.KeepAlive(text)
	if errno != 0 {
		t.Fatalf("pin the program at %s: %v", path, errno)
	}
	t.Cleanup(func() { os.Remove(path) })
	return path
}

func address[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// bpfDirectory is a BPF file system of the test's own.
func bpfDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatalf("mount a BPF file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}
