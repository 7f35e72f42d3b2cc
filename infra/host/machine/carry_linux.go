package machine

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CarryFrames carries frames between two network devices, with what is asked ([]Fault as JSON) done to them: outer is the host's end, inner
// the switch's. It says "ready", and returns when all that was asked has ended. A segment that the network stack passes on whole, to be
// cut by the device, is one frame.
func CarryFrames(asked, outer, inner string, ready io.Writer) error {
	c := carrier{last: map[string]time.Time{}}
	if err := json.Unmarshal([]byte(asked), &c.faults); err != nil {
		return fmt.Errorf("what to do to frames: %w", err)
	}
	for i := range c.faults {
		mac, err := hex.DecodeString(strings.ReplaceAll(c.faults[i].Peer, ":", ""))
		if err != nil {
			return fmt.Errorf("a peer's link address: %w", err)
		}
		c.faults[i].Peer = string(mac)
	}
	for n, name := range []string{outer, inner} {
		fd, err := openDevice(name)
		if err != nil {
			return fmt.Errorf("open network device %s: %w", name, err)
		}
		defer unix.Close(fd)
		c.sides[n].fd = fd
	}
	// A thread's timers are late by its slack, and by who else wants its CPU. Without priority this one is as punctual as the machine is
	// idle.
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	fmt.Fprintln(ready, "ready")
	return c.run()
}

// Every frame of these sockets follows a header with work for the device: complete its checksum, cut it.
const (
	offloadHeader  = 10
	needsChecksum  = 1
	ethernetHeader = 14
)

func openDevice(name string) (int, error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	for _, o := range []struct{ level, name, value int }{
		{unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1}, {unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1}, {unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
		{unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16 << 20}, {unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16 << 20},
	} {
		if err == nil {
			err = unix.SetsockoptInt(fd, o.level, o.name, o.value)
		}
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8, Ifindex: device.Index})
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// carrier is a link that is more than a cable. Side 0 is the host's, side 1 the switch's.
type carrier struct {
	faults []Fault
	sides  [2]side
	last   map[string]time.Time // when the last frame between the host and a link address goes on: the next must not be before
	stamp  [64]byte
	buf    [offloadHeader + ethernetHeader + 1<<17]byte
}

type side struct {
	fd    int
	queue []held // for this side, by due
	bytes int    // in queue
}

type held struct {
	due   time.Time
	frame []byte
}

// maxHeld is how many bytes of frames a link holds each way; what comes then is lost.
const maxHeld = 64 << 20

// lastAnswers is for how long frames are carried after all that was asked has ended: those at the moment of the change to a plain link are lost.
const lastAnswers = time.Second

func (c *carrier) run() error {
	var idle time.Time // since when nothing is asked
	for {
		now := time.Now()
		c.faults = slices.DeleteFunc(c.faults, func(f Fault) bool { return f.Over() })
		wake := time.Hour
		for _, f := range c.faults {
			if !f.Until.IsZero() {
				wake = min(wake, time.Until(f.Until))
			}
		}
		held := 0
		for n := range c.sides {
			s := &c.sides[n]
			s.send(now)
			if held += len(s.queue); len(s.queue) > 0 {
				wake = min(wake, time.Until(s.queue[0].due))
			}
		}
		if len(c.faults)+held == 0 {
			if idle.IsZero() { // what answers the last frames is carried, too
				idle = now
			}
			if wake = min(wake, time.Until(idle.Add(lastAnswers))); wake <= 0 {
				return nil
			}
		}
		timeout := unix.NsecToTimespec(int64(max(0, wake)))
		polled := []unix.PollFd{{Fd: int32(c.sides[0].fd), Events: unix.POLLIN}, {Fd: int32(c.sides[1].fd), Events: unix.POLLIN}}
		if _, err := unix.Ppoll(polled, &timeout, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for frames: %w", err)
		}
		for n, p := range polled {
			if p.Revents != 0 {
				if err := c.receive(n); err != nil {
					return err
				}
			}
		}
	}
}

// receive takes some frames from a side, so that the other has its turn.
func (c *carrier) receive(from int) error {
	for range 32 {
		n, stamped, _, _, err := unix.Recvmsg(c.sides[from].fd, c.buf[:], c.stamp[:], 0)
		switch {
		case err == unix.EAGAIN:
			return nil
		case err == unix.EINTR, err == unix.EINVAL, err == unix.ENETDOWN: // EINVAL: a frame that the header cannot describe is lost
			continue
		case err != nil:
			return fmt.Errorf("receive a frame: %w", err)
		case n >= offloadHeader+ethernetHeader:
			c.take(from, c.buf[:n], arrived(c.stamp[:stamped]))
		}
	}
	return nil
}

// arrived is when the kernel received a frame: this thread may have come to it later.
func arrived(stamp []byte) time.Time {
	now, at := time.Now(), unix.CmsgLen(0)
	if len(stamp) < at+16 {
		return now
	}
	age := now.Sub(time.Unix(int64(binary.NativeEndian.Uint64(stamp[at:])), int64(binary.NativeEndian.Uint64(stamp[at+8:]))))
	if age < 0 || age > time.Second { // somebody has set the clock
		return now
	}
	return now.Add(-age)
}

// take applies the faults to a frame, and queues the result for the other side.
func (c *carrier) take(from int, frame []byte, now time.Time) {
	way, peer := "out", string(frame[offloadHeader:][:6]) // whom it is for
	if from == 1 {
		way, peer = "in", string(frame[offloadHeader:][6:12]) // who sent it
	}
	due, copies, overtakes := now, 1, false
	for _, f := range c.faults {
		if f.Way != "" && f.Way != way || f.Peer != "" && f.Peer != peer {
			continue
		}
		if f.Loss > rand.Float64() {
			return
		}
		if f.Corrupt > rand.Float64() && !corrupt(frame) {
			return
		}
		if f.Duplicate > rand.Float64() {
			copies++
		}
		if f.Stall {
			due = f.Until
		}
		if f.Reorder > rand.Float64() {
			overtakes = true
			continue
		}
		due = due.Add(f.Delay)
		if f.Jitter > 0 {
			due = due.Add(rand.N(2*f.Jitter+1) - f.Jitter)
		}
	}
	if !overtakes {
		if last := c.last[way+peer]; due.Before(last) {
			due = last
		}
		c.last[way+peer] = due
	}
	for range copies {
		c.sides[1-from].hold(due, frame)
	}
}

func (s *side) hold(due time.Time, frame []byte) {
	if s.bytes += len(frame); s.bytes > maxHeld {
		s.bytes -= len(frame)
		return
	}
	at := len(s.queue)
	if at > 0 && due.Before(s.queue[at-1].due) {
		at = sort.Search(at, func(i int) bool { return due.Before(s.queue[i].due) })
	}
	s.queue = slices.Insert(s.queue, at, held{due, slices.Clone(frame)})
}

// send passes on what is due. What the device does not take is lost, as in a switch.
func (s *side) send(now time.Time) {
	for len(s.queue) > 0 && !s.queue[0].due.After(now) {
		_, _ = unix.Write(s.fd, s.queue[0].frame)
		s.bytes -= len(s.queue[0].frame)
		s.queue[0].frame = nil
		s.queue = s.queue[1:]
	}
}

// corrupt changes one bit of an IP packet, which its checksum must show: one that the device was to complete is completed first. False is
// for what the receiver would drop for certain: a segment that is to be cut, and gets its checksums then, and what has none, as ARP, which it
// would otherwise remember.
func corrupt(frame []byte) bool {
	header, data := frame[:offloadHeader], frame[offloadHeader:]
	if kind := binary.BigEndian.Uint16(data[12:]); header[1] != 0 || len(data) == ethernetHeader || kind != unix.ETH_P_IP && kind != unix.ETH_P_IPV6 {
		return false
	}
	if header[0]&needsChecksum != 0 {
		start := int(binary.NativeEndian.Uint16(header[6:]))
		at := start + int(binary.NativeEndian.Uint16(header[8:]))
		if at+2 > len(data) {
			return false
		}
		sum := uint32(0)
		for i := start; i < len(data); i += 2 {
			sum += uint32(data[i]) << 8
			if i+1 < len(data) {
				sum += uint32(data[i+1])
			}
		}
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		binary.BigEndian.PutUint16(data[at:], ^uint16(sum))
		clear(header)
	}
	bit := rand.IntN(8 * (len(data) - ethernetHeader))
	data[ethernetHeader+bit/8] ^= 1 << (bit % 8)
	return true
}
