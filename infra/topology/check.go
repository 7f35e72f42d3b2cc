package topology

import "strings"

// check notes what is wrong between the parts of a file.
func (p *reader) check(hosts []hostNode, instances []instanceNode) {
	var names []string
	first := map[string]int{}
	for _, h := range hosts {
		if h.Name == "" {
			continue // noted already
		}
		if line, ok := first[h.Name]; ok {
			p.fault(h.at, "host %q is there twice (first on line %d)", h.Name, line)
			continue
		}
		first[h.Name] = h.at.GetToken().Position.Line
		names = append(names, h.Name)
	}
	proxies := map[string]instanceNode{}
	for _, i := range instances {
		if i.Host == "" {
			continue
		}
		if _, ok := first[i.Host]; !ok && len(names) > 0 {
			p.fault(i.hostAt, "host %q does not exist (have %s)", i.Host, strings.Join(names, ", "))
		}
		if i.Role != Proxy {
			continue
		}
		if other, ok := proxies[i.Host]; ok {
			p.fault(i.hostAt, "two proxies on host %q would listen on one port (the other is on line %d)", i.Host,
				other.hostAt.GetToken().Position.Line)
		}
		proxies[i.Host] = i
	}
}
