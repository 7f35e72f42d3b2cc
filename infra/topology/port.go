package topology

// The first port of each role on a host; the second instance of a role there has the next one, and so on.
const (
	httpPort  = 80
	httpsPort = 443
	webPort   = 8080
	apiPort   = 9292
	dbPort    = 3306
	// DebugPorts is what lies between the port of an instance of web or api, or of Envoy, and that of its pprof or admin page.
	DebugPorts = 10000
)

// Ports are the ports of all instances, by name, where every host has an address of its own.
func (t *Topology) Ports() map[string]int {
	ports := map[string]int{}
	type slot struct {
		host string
		role Role
	}
	count := map[slot]int{}
	for _, i := range t.Instances {
		ports[i.Name] = i.port(count[slot{i.Host, i.Role}])
		count[slot{i.Host, i.Role}]++
	}
	return ports
}

// port is that of the n-th instance of its role on its host, from 0. Proxies are where browsers look for them.
func (i Instance) port(n int) int {
	switch {
	case i.Sizes.Port > 0:
		return i.Sizes.Port
	case i.Role == Proxy && i.TLS:
		return httpsPort
	case i.Role == Proxy:
		return httpPort
	case i.Role == Web:
		return webPort + n
	case i.Role == API:
		return apiPort + n
	}
	return dbPort + n
}
