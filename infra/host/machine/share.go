package machine

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"isukit/infra/host"
)

// The lab's addresses. Every lab has its own switch, so all labs have the same.
var labNet = netip.MustParsePrefix("10.77.0.0/24")

const (
	switchName    = "switch"
	generatorName = "generator"
	firstHost     = 11  // hosts are 10.77.0.11 and up,
	lastHost      = 240 // to here
	generatorHost = 250
)

func labAddress(n int) string { return fmt.Sprintf("10.77.0.%d", n) }

// linkAddress is the link address for an IP address of the lab. A host made again must keep it: others remember it for a minute.
func linkAddress(address string) string {
	ip := netip.MustParseAddr(address).As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", ip[0], ip[1], ip[2], ip[3])
}

// fixtureAddress: the switch has none, it only passes on.
func fixtureAddress(name string) string {
	if name == generatorName {
		return labAddress(generatorHost)
	}
	return ""
}

func (s *state) shareOut(scale float64) error {
	cpus, err := UsableCPUs()
	if err != nil {
		return err
	}
	total := 0.0
	for _, h := range s.Hosts {
		if h.Want.Name == switchName || h.Want.Name == generatorName {
			return fmt.Errorf("host name %q: in the lab it has a meaning already", h.Want.Name)
		}
		total += h.wantedCPUs(len(cpus))
	}
	if scale == 0 {
		scale = ShareOf(float64(len(cpus)), total)
	}
	load := make([]float64, len(cpus))
	for _, h := range s.byCPUs(len(cpus)) {
		want := h.wantedCPUs(len(cpus))
		threads := min(len(cpus), int(math.Ceil(want)))
		h.CPUs = min(want*scale, float64(threads))
		h.On = nil
		for _, n := range leastLoaded(load, threads) {
			load[n] += h.CPUs / float64(threads)
			h.On = append(h.On, cpus[n])
		}
		slices.Sort(h.On)
	}
	return s.giveAddresses()
}

// ShareOf is the part of their declared CPUs that the lab's hosts get without CPUScale: together, three quarters of the machine.
func ShareOf(machine, declared float64) float64 { return min(1, 0.75*machine/declared) }

func (s *state) byCPUs(machine int) []*hostRecord {
	var list []*hostRecord
	for i := range s.Hosts {
		list = append(list, &s.Hosts[i])
	}
	slices.SortStableFunc(list, func(a, b *hostRecord) int { return cmp.Compare(b.wantedCPUs(machine), a.wantedCPUs(machine)) })
	return list
}

// leastLoaded are the indexes of the n least values: hosts on few CPUs must not crowd on one of them.
func leastLoaded(load []float64, n int) []int {
	list := make([]int, len(load))
	for i := range list {
		list[i] = i
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(load[a], load[b]) })
	return list[:n]
}

// wantedCPUs is what the host wants; all that the machine has where it does not say.
func (h *hostRecord) wantedCPUs(machine int) float64 {
	if h.Want.CPUs > 0 {
		return h.Want.CPUs
	}
	return float64(machine)
}

// giveAddresses leaves addresses as they are, takes wishes for one of the lab's, and chooses the others.
func (s *state) giveAddresses() error {
	taken := map[string]string{}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		if wish, err := netip.ParseAddr(h.Want.Address); err == nil && labNet.Contains(wish) {
			h.Address = wish.String()
		}
		if in, err := netip.ParseAddr(h.Address); err != nil || !labNet.Contains(in) {
			h.Address = "" // it has not got one yet
			continue
		}
		if other, ok := taken[h.Address]; ok {
			return &host.Fault{
				Err: fmt.Errorf("hosts %s and %s have one address, %s", other, h.Want.Name, h.Address),
				// Both are needed at the same time: data is copied from one to the other, and the services are restored if the swap fails.
				Hint: "a host that goes stays until the swap is done: give the new one its name or another address, or take down what is up first",
			}
		}
		taken[h.Address] = h.Want.Name
	}
	next := firstHost
	for i := range s.Hosts {
		h := &s.Hosts[i]
		for ; h.Address == ""; next++ {
			if next > lastHost {
				return fmt.Errorf("the lab has addresses for %d hosts", lastHost-firstHost+1)
			}
			if _, ok := taken[labAddress(next)]; !ok {
				h.Address = labAddress(next)
			}
		}
	}
	return nil
}

// link are the rate and burst for the shaper of a host's link; none where it is as fast as it goes.
func link(w host.Want) []string {
	if w.LinkBitsPerSecond == 0 {
		return nil
	}
	// The bytes between two ticks of the kernel's clock must fit, and so must the largest segment of the network stack.
	burst := max(64<<10, w.LinkBitsPerSecond/8/100)
	return []string{fmt.Sprint(w.LinkBitsPerSecond), fmt.Sprint(burst)}
}
