package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

const (
	ethernetHeader = 14
	tosOfHeader    = 1  // where the TOS is in an IPv4 header
	sumOfHeader    = 10 // where its checksum is
	passOn         = 0  // TC_ACT_OK
)

// rewritesHeader loads a program that sets the TOS of every IPv4 packet, and pins it: with bpf_skb_store_bytes and BPF_F_RECOMPUTE_CSUM, a
// flag that corrects the checksum of the packet's payload and not the one of the IP header; or, with replaces, with bpf_l3_csum_replace,
// which corrects that one. It returns the pin's path.
func rewritesHeader(t *testing.T, replaces bool) string {
	t.Helper()
	const recompute = 1                  // BPF_F_RECOMPUTE_CSUM
	const stack, stackTOS int16 = -8, -7 // two bytes of the header: version and length, TOS
	// field calls a helper function on the packet, with two bytes of the stack.
	field := func(call asm.BuiltinFunc, at int32, local int16, size int32) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, ethernetHeader+at),
			asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, int32(local)), asm.Mov.Imm(asm.R4, size), call.Call(),
		}
	}
	program := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),                  // the packet
		asm.LoadMem(asm.R2, asm.R1, 16, asm.Word),    // its protocol, in network order
		asm.JNE.Imm(asm.R2, unix.ETH_P_IP>>8, "end"), // 0x0800 is 0x0008 there
	}
	if replaces {
		program = append(program, field(asm.FnSkbLoadBytes, 0, stack, 2)...)
		program = append(program, asm.LoadMem(asm.R7, asm.RFP, stack, asm.Half))
	}
	program = append(program, asm.StoreImm(asm.RFP, stackTOS, 0x10, asm.Byte), asm.Mov.Imm(asm.R5, recompute))
	if replaces {
		program = append(program, asm.LoadMem(asm.R8, asm.RFP, stack, asm.Half), asm.Mov.Imm(asm.R5, 0))
	}
	program = append(program, field(asm.FnSkbStoreBytes, tosOfHeader, stackTOS, 1)...)
	if replaces {
		program = append(program,
			asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Imm(asm.R2, ethernetHeader+sumOfHeader),
			asm.Mov.Reg(asm.R3, asm.R7), asm.Mov.Reg(asm.R4, asm.R8), asm.Mov.Imm(asm.R5, 2), asm.FnL3CsumReplace.Call())
	}
	program = append(program, asm.Mov.Imm(asm.R0, passOn).WithSymbol("end"), asm.Return())
	loaded, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: program, License: "GPL"})
	if err != nil {
		t.Fatalf("load the program: %+v", err)
	}
	defer loaded.Close()
	path := filepath.Join(bpfDirectory(t), fmt.Sprintf("isukit-test-%d-%t", os.Getpid(), replaces))
	if err := loaded.Pin(path); err != nil {
		t.Fatalf("pin the program: %v", err)
	}
	t.Cleanup(func() { os.Remove(path) })
	return path
}

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
