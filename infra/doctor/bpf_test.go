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
// pins it: the flag mends the checksum of the packet's payload, not the one of the IP header. With replaces, the program mends that one, too,
// with bpf_l3_csum_replace. It returns the pin's path.
func rewritesHeader(t *testing.T, replaces bool) string {
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
	if replaces {
		program = []instruction{
			{0xbf, 0x16, 0, 0},      // r6 = r1, the packet
			{0x61, 0x62, 16, 0},     // r2 = packet.protocol
			{0x55, 0x02, 21, 0x008}, // unless it is IPv4: go to the end
			{0xb7, 0x02, 0, 14},     // r2 = where the IP header begins
			{0xbf, 0xa3, 0, 0},      // r3 = the stack
			{0x07, 0x03, 0, -8},     // ... - 8
			{0xb7, 0x04, 0, 2},      // r4 = two bytes: version and length, TOS
			{0x85, 0x00, 0, 26},     // bpf_skb_load_bytes
			{0x69, 0xa7, -8, 0},     // r7 = these
			{0x72, 0x0a, -7, 0x10},  // the second = 0x10
			{0x69, 0xa8, -8, 0},     // r8 = what they are to be
			{0xbf, 0x61, 0, 0},      // r1 = packet
			{0xb7, 0x02, 0, 14},
			{0xbf, 0xa3, 0, 0},
			{0x07, 0x03, 0, -8},
			{0xb7, 0x04, 0, 2},
			{0xb7, 0x05, 0, 0},       // r5 = no flags
			{0x85, 0x00, 0, 9},       // bpf_skb_store_bytes
			{0xbf, 0x61, 0, 0},       // r1 = packet
			{0xb7, 0x02, 0, 14 + 10}, // r2 = the header's checksum
			{0xbf, 0x73, 0, 0},       // r3 = what it was about
			{0xbf, 0x84, 0, 0},       // r4 = what it is to be about
			{0xb7, 0x05, 0, 2},       // r5 = two bytes
			{0x85, 0x00, 0, 10},      // bpf_l3_csum_replace
			{0xb7, 0x00, 0, 0},       // r0 = TC_ACT_OK
			{0x95, 0x00, 0, 0},       // exit
		}
	}
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
	path := filepath.Join(bpfDirectory(t), fmt.Sprintf("isukit-test-%d-%t", os.Getpid(), replaces))
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
