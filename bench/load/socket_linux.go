package load

import (
	"syscall"
	"unsafe"
)

// readFD reads from a socket that does not block, into b, which is not empty.
//
// It and writeFD spare the layer of files in the kernel, and do not tell the runtime's scheduler of a call that may take long,
// as package syscall does: none of these waits.
func readFD(fd uintptr, b []byte) (int, error) {
	return call(syscall.SYS_RECVFROM, fd, b, syscall.MSG_DONTWAIT)
}

// writeFD writes b, which is not empty, or a part of it, to a socket that does not block.
func writeFD(fd uintptr, b []byte) (int, error) {
	return call(syscall.SYS_SENDTO, fd, b, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

func call(trap, fd uintptr, b []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EAGAIN:
			return -1, syscall.EAGAIN // errno itself, made an error, would allocate
		case syscall.EINTR:
		default:
			return -1, errno
		}
	}
}
