package render

import (
	"io/fs"
	"net"
	"path"
	"strconv"

	"isukit/infra/topology"
)

// bots is what the name of a program that nobody asked for ends with, as a regular expression of both proxies.
const bots = "bot|crawler|spider"

func (in Input) nginx(i topology.Instance) ([]File, error) {
	place, sizes := in.Places[i.Name], in.SizesOf(i)
	data := map[string]any{
		"Dir": place.Dir, "Root": in.Root, "Listen": place.HostPort(), "StaticDir": in.StaticDir, "TLS": i.TLS, "Bots": bots,
		"Workers": sizes.Workers, "Files": sizes.Files, "WorkerConnections": 2*sizes.Connections + 64,
		"Keepalive": in.keepalive(sizes), "Web": in.servers(topology.Web, i.Host), "API": in.servers(topology.API, i.Host),
		"StreamModule": "", "Balance": "",
	}
	if b := in.Topology.Data.Balance; b != nil && b.Kind == topology.BalanceNginx && b.Host == i.Host {
		data["StreamModule"] = in.StreamModule
		data["Balance"] = net.JoinHostPort(place.Address, strconv.Itoa(in.balancePort(b)))
		data["BalanceTo"] = in.hostPorts(b.Databases)
	}
	conf, err := in.template("nginx/nginx.conf.tmpl", data)
	if err != nil {
		return nil, err
	}
	mime, err := fs.ReadFile(in.Templates, "nginx/mime.types.conf")
	if err != nil {
		return nil, err
	}
	return []File{
		{Path: path.Join(place.Dir, NginxConf), Mode: 0o644, Data: conf},
		{Path: path.Join(place.Dir, "mime.types"), Mode: 0o644, Data: mime},
	}, nil
}

// keepalive is how many idle connections each worker of nginx keeps to an upstream.
func (in Input) keepalive(s topology.Sizes) int { return within(16, s.Connections/64, 128) }

// balancePort is where reads are taken: as the file says, or elsewhere when all hosts share an address.
func (in Input) balancePort(b *topology.Balance) int {
	if in.BalancePort != 0 {
		return in.BalancePort
	}
	return b.Port
}

func (in Input) envoy(i topology.Instance) ([]File, error) {
	type cluster struct {
		Name      string
		Endpoints []Place
	}
	place := in.Places[i.Name]
	largest := int64(4096)
	for _, f := range in.Static {
		largest = max(largest, f.SizeBytes)
	}
	conf, err := in.template("nginx/envoy.yaml.tmpl", map[string]any{
		"Dir": place.Dir, "Address": place.Address, "Port": place.Port, "AdminPort": place.DebugPort,
		"Static": in.Static, "MaxStaticBytes": largest, "TLS": i.TLS, "Bots": bots, "Connections": in.SizesOf(i).Connections,
		"Clusters": []cluster{{"web", in.places(topology.Web, i.Host)}, {"api", in.places(topology.API, i.Host)}},
	})
	if err != nil {
		return nil, err
	}
	cache, err := fs.ReadFile(in.Templates, "nginx/"+CacheLua)
	if err != nil {
		return nil, err
	}
	return []File{
		{Path: path.Join(place.Dir, EnvoyConf), Mode: 0o644, Data: conf},
		{Path: path.Join(place.Dir, CacheLua), Mode: 0o644, Data: cache},
	}, nil
}

// socketOf is the Unix socket of an instance of web or api: it has one where a proxy shares its host.
func (in Input) socketOf(i topology.Instance) string {
	for _, other := range in.Topology.On(i.Host) {
		if other.Role == topology.Proxy {
			return in.Places[i.Name].Socket
		}
	}
	return ""
}

// places are the addresses of a role's instances for a proxy on that host: sockets for those on the same host.
func (in Input) places(role topology.Role, host string) []Place {
	var list []Place
	for _, i := range in.Topology.Of(role) {
		p := in.Places[i.Name]
		if p.Socket = in.socketOf(i); i.Host != host {
			p.Socket = ""
		}
		list = append(list, p)
	}
	return list
}

// servers are the same as nginx writes them.
func (in Input) servers(role topology.Role, host string) []string {
	var list []string
	for _, p := range in.places(role, host) {
		if p.Socket != "" {
			list = append(list, "unix:"+p.Socket)
			continue
		}
		list = append(list, p.HostPort())
	}
	return list
}

func (in Input) hostPorts(instances []string) []string {
	var list []string
	for _, name := range instances {
		list = append(list, in.Places[name].HostPort())
	}
	return list
}
