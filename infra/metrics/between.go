package metrics

import "time"

// Between returns what counters have grown by from a to b; what is told of one moment is b's. Counters that were set back, as
// by a reboot, count from zero.
func Between(a, b Sample) Sample {
	d := b
	for _, p := range []struct {
		from, to *time.Duration
	}{
		{&a.CPU.User, &d.CPU.User}, {&a.CPU.System, &d.CPU.System}, {&a.CPU.Idle, &d.CPU.Idle}, {&a.CPU.IOWait, &d.CPU.IOWait}, {&a.CPU.Steal, &d.CPU.Steal},
		{&a.CPU.Total, &d.CPU.Total}, {&a.Throttled, &d.Throttled}, {&a.Disk.Busy, &d.Disk.Busy},
	} {
		*p.to = grown(*p.from, *p.to)
	}
	for _, p := range []struct{ from, to *int64 }{
		{&a.SwapInPages, &d.SwapInPages}, {&a.SwapOutPages, &d.SwapOutPages}, {&a.MajorFaults, &d.MajorFaults}, {&a.OOMKills, &d.OOMKills},
		{&a.Disk.ReadBytes, &d.Disk.ReadBytes}, {&a.Disk.WrittenBytes, &d.Disk.WrittenBytes}, {&a.Net.ReceivedBytes, &d.Net.ReceivedBytes},
		{&a.Net.SentBytes, &d.Net.SentBytes}, {&a.Net.LoopbackBytes, &d.Net.LoopbackBytes}, {&a.Net.Dropped, &d.Net.Dropped},
		{&a.TCP.SentSegments, &d.TCP.SentSegments}, {&a.TCP.Retransmitted, &d.TCP.Retransmitted}, {&a.TCP.ListenOverflows, &d.TCP.ListenOverflows}, {&a.TCP.Resets, &d.TCP.Resets},
	} {
		*p.to = grown(*p.from, *p.to)
	}
	d.Processes = map[string]Process{}
	for name, p := range b.Processes {
		before := a.Processes[name].each
		p.CPU = 0
		for id, used := range p.each {
			p.CPU += grown(before[id], used)
		}
		d.Processes[name] = p
	}
	return d
}

// grown is to - from, or to where the counter was set back.
func grown[T int64 | time.Duration](from, to T) T {
	if to < from {
		return to
	}
	return to - from
}
