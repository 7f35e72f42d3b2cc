package topology

import "slices"

// Data is the placement of the tables: on which databases they are, and how these are written and read.
type Data struct {
	Write       Write       `json:"write,omitempty"`
	Read        Read        `json:"read,omitempty"`
	Replication Replication `json:"replication,omitempty"` // with Replicated only
	// Groups divide the tables over the databases; none: every table is on every database.
	Groups  []Group  `json:"groups,omitempty"`
	Balance *Balance `json:"balance,omitempty"` // nil: the app chooses where it reads
}

// Write is the app's write mode for databases with the same tables, of app/fanout. Empty: single for one, ordered for several.
type Write string

// Replicated leaves the copying to the servers' own replication: the app writes to the first database of a group, the source.
const Replicated Write = "replicated"

// Writes are the modes that a topology may name. The fan-out's mode keyed is for an app that is one process; a topology has web and api.
func Writes() []Write {
	return []Write{"single", "parallel", "ordered", "durable", Replicated}
}

// Read is which of several databases answers a read; the policies are app/fanout's. Empty is the app's default, random.
type Read string

// Reads are the policies that a topology may name.
func Reads() []Read { return []Read{"random", "least-busy"} }

// Replication is how a source waits for its replicas.
type Replication string

// The ways of replication. With SemiSync a commit is answered when one replica has received it.
const (
	Async    Replication = "async"
	SemiSync Replication = "semisync"
)

// AllTables is what a group names for the tables that no other group names.
const AllTables = "*"

// Group is a set of tables on a set of databases, each of which has all of them.
type Group struct {
	Name      string   `json:"name"`
	Tables    []string `json:"tables"`
	Databases []string `json:"databases"` // names of instances; the first decides the order of writes
}

// BalanceKind is what spreads reads.
type BalanceKind string

// What can spread reads besides the app: nginx with its module stream, or the kernel of every host that the app runs on.
const (
	BalanceNginx    BalanceKind = "nginx"
	BalanceNftables BalanceKind = "nftables"
)

// Balance is an address for reads with several databases behind it.
type Balance struct {
	Kind      BalanceKind `json:"kind"`
	Host      string      `json:"host,omitempty"` // of BalanceNginx: it runs a proxy of kind nginx, which takes this on
	Port      int         `json:"port"`
	Databases []string    `json:"databases"` // names of instances
}

// DefaultBalancePort is where reads are taken unless the file says otherwise.
const DefaultBalancePort = 13306

// GroupOf returns the group of a database's tables. A file without groups is one group, with all tables and databases.
func (t *Topology) GroupOf(database string) Group {
	for _, g := range t.Data.Groups {
		if slices.Contains(g.Databases, database) {
			return g
		}
	}
	all := Group{Name: "all", Tables: []string{AllTables}}
	for _, i := range t.Of(DB) {
		all.Databases = append(all.Databases, i.Name)
	}
	return all
}

// Source is the database that others replicate from in database's group; "" without native replication.
func (t *Topology) Source(database string) string {
	if t.Data.Write != Replicated {
		return ""
	}
	return t.GroupOf(database).Databases[0]
}
