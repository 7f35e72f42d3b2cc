package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// A block is handed over after ringTimeoutMS however little it holds: of many small ones a reader that gets no CPU may be longer without.
	ringBlockBytes = 1 << 18
	// ringBytes holds a quarter of a second of a gigabit, or three seconds of 1,000 hits of 10 kB each.
	ringBytes      = 32 << 20
	ringFrameBytes = 2048
	// ringTimeoutMS is after how long the kernel hands over a block that is not full.
	ringTimeoutMS = 50

	hardwareLoopback = 772
)

// Live captures packets of an interface through AF_PACKET, with a ring that the kernel fills, until its context ends. It
// needs CAP_NET_RAW. It takes packets from the network layer on, so that every kind of interface gives the same.
type Live struct {
	ctx    context.Context
	fd     int
	ring   []byte
	blocks int
	block  int
	// offset is that of the next packet in the block, left is how many there are.
	offset, left int
	entered      bool
	// told says that ErrQuiet was returned since the last block.
	told    bool
	dropped uint64
	// lastCall is when reading ends after the context did, though packets keep coming.
	lastCall time.Time
}

// OpenLive starts capturing on an interface, "any" for all of them, in the network namespace with that path, such as /run/netns/NAME, or in
// the own one, "". Close must be called.
func OpenLive(ctx context.Context, iface, netns string) (*Live, error) {
	var l *Live
	err := inNetns(netns, func() (err error) {
		l, err = openLive(ctx, iface)
		return err
	})
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("capture on %s: it needs root, or the capability CAP_NET_RAW: %w", iface, err)
	}
	if err != nil {
		return nil, fmt.Errorf("capture on %s: %w", iface, err)
	}
	return l, nil
}

// inNetns runs f in a network namespace. A socket that f makes stays in it.
func inNetns(path string, f func() error) error {
	if path == "" {
		return f()
	}
	target, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer unix.Close(target)
	// A thread that could not be brought back stays locked, and ends with the goroutine.
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			result <- err
			return
		}
		defer unix.Close(own)
		if err := unix.Setns(target, unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("enter network namespace %s: %w", path, err)
			return
		}
		err = f()
		if unix.Setns(own, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

func openLive(ctx context.Context, name string) (_ *Live, err error) {
	index := 0
	if name != "any" {
		iface, err := net.InterfaceByName(name)
		if err != nil {
			return nil, err
		}
		index = iface.Index
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	l := &Live{ctx: ctx, fd: fd, blocks: ringBytes / ringBlockBytes}
	defer func() {
		if err != nil {
			_ = l.Close()
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, err
	}
	request := unix.TpacketReq3{
		Block_size: ringBlockBytes, Block_nr: uint32(l.blocks), Frame_size: ringFrameBytes,
		Frame_nr: uint32(ringBlockBytes / ringFrameBytes * l.blocks), Retire_blk_tov: ringTimeoutMS,
	}
	if err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &request); err != nil {
		return nil, fmt.Errorf("make a ring of %d bytes: %w", ringBlockBytes*l.blocks, err)
	}
	if l.ring, err = unix.Mmap(fd, 0, ringBlockBytes*l.blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map the ring: %w", err)
	}
	// Only now: packets that come before the ring is there would be lost.
	const all = unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return nil, err
	}
	return l, nil
}

// Close ends the capture.
func (l *Live) Close() error {
	var err error
	if l.ring != nil {
		err = unix.Munmap(l.ring)
		l.ring = nil
	}
	return errors.Join(err, unix.Close(l.fd))
}

// Dropped returns how many packets the kernel lost because the ring was full.
func (l *Live) Dropped() (uint64, error) {
	stats, err := unix.GetsockoptTpacketStatsV3(l.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, fmt.Errorf("read the capture's statistics: %w", err)
	}
	// The kernel counts from the last call on.
	l.dropped += uint64(stats.Drops)
	return l.dropped, nil
}

// Next returns the next packet, ErrQuiet after a pause, and io.EOF when the context has ended and all packets were read.
func (l *Live) Next() (Packet, error) {
	for {
		for l.left == 0 {
			if err := l.nextBlock(); err != nil {
				return Packet{}, err
			}
		}
		p, ok := l.packet()
		if ok {
			return p, nil
		}
	}
}

// status is the word through which a block changes hands between the kernel and us.
func (l *Live) status() *uint32 {
	return (*uint32)(unsafe.Pointer(&l.ring[l.block*ringBlockBytes+8]))
}

// nextBlock gives the block that was read back to the kernel, and waits for the next.
func (l *Live) nextBlock() error {
	if l.entered {
		atomic.StoreUint32(l.status(), unix.TP_STATUS_KERNEL)
		l.block = (l.block + 1) % l.blocks
		l.entered = false
	}
	if l.ctx.Err() != nil && l.lastCall.IsZero() {
		l.lastCall = time.Now().Add(quietTime)
	}
	if !l.lastCall.IsZero() && time.Now().After(l.lastCall) {
		return io.EOF
	}
	if !l.told && atomic.LoadUint32(l.status())&unix.TP_STATUS_USER == 0 {
		l.told = true
		return ErrQuiet
	}
	until := time.Now().Add(quietTime)
	for atomic.LoadUint32(l.status())&unix.TP_STATUS_USER == 0 {
		ended := l.ctx.Err() != nil
		wait := time.Until(until)
		if ended {
			// The kernel may hold a block that is not full: it comes within its time limit.
			wait = 2 * ringTimeoutMS * time.Millisecond
		}
		if wait <= 0 {
			return ErrQuiet
		}
		fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN | unix.POLLERR}}
		n, err := unix.Poll(fds, int(wait.Milliseconds())+1)
		switch {
		case err != nil && err != unix.EINTR:
			return fmt.Errorf("wait for packets: %w", err)
		case err == nil && n > 0 && fds[0].Revents&unix.POLLERR != 0:
			return errors.New("wait for packets: the interface is gone or down")
		case ended && n == 0:
			return io.EOF
		}
	}
	head := l.ring[l.block*ringBlockBytes:]
	l.left = int(binary.NativeEndian.Uint32(head[12:]))
	l.offset = l.block*ringBlockBytes + int(binary.NativeEndian.Uint32(head[16:]))
	l.entered, l.told = true, false
	return nil
}

// packet takes the next packet of the block. ok is false for other protocols, and for a packet's second copy on a loopback.
func (l *Live) packet() (p Packet, ok bool) {
	head := l.ring[l.offset:]
	next := int(binary.NativeEndian.Uint32(head))
	seconds, nanos := binary.NativeEndian.Uint32(head[4:]), binary.NativeEndian.Uint32(head[8:])
	kept, length := binary.NativeEndian.Uint32(head[12:]), binary.NativeEndian.Uint32(head[16:])
	at := int(binary.NativeEndian.Uint16(head[26:]))
	address := head[unix.SizeofTpacket3Hdr:]
	protocol := binary.BigEndian.Uint16(address[2:])
	hardware := binary.NativeEndian.Uint16(address[8:])
	outgoing := address[10] == unix.PACKET_OUTGOING
	data := head[at : at+int(kept)]
	l.left--
	l.offset += next
	if protocol != etherIPv4 && protocol != etherIPv6 || outgoing && hardware == hardwareLoopback {
		return p, false
	}
	return Packet{Time: time.Unix(int64(seconds), int64(nanos)), Data: data, Length: int(length), Link: linkRaw}, true
}
