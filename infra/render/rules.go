package render

import (
	"net"

	"isukit/infra/topology"
)

// RulesTable is the table of nftables that Rules fills.
const RulesTable = "isukit_reads"

// Rules are the rules of nftables for a host; nil where it needs none.
func Rules(in Input, host string) ([]byte, error) {
	b := in.Topology.Data.Balance
	if b == nil || b.Kind != topology.BalanceNftables {
		return nil, nil
	}
	needed := false
	for _, i := range in.Topology.On(host) {
		needed = needed || i.Role == topology.Web || i.Role == topology.API
	}
	if !needed {
		return nil, nil
	}
	var databases []Place
	for _, name := range b.Databases {
		databases = append(databases, in.Places[name])
	}
	address, port, err := net.SplitHostPort(in.BalanceAddress())
	if err != nil {
		return nil, err
	}
	return in.template("nginx/reads.nft.tmpl", map[string]any{
		"Table": RulesTable, "Address": in.BalanceAddress(), "Host": address, "Port": port, "Databases": databases,
	})
}
