package infra

import (
	"fmt"
	"io"
	"log"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"isukit/infra/dbserver"
	"isukit/infra/plan"
	"isukit/infra/render"
	"isukit/infra/topology"
)

// replicationUser is the account by which replicas connect to their source.
const replicationUser = "isukit_copy"

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// databases adds what every database is made of: settings, data, the server, and the accounts on it.
func (l *layout) databases() error {
	for _, i := range l.Topology.Of(topology.DB) {
		if err := l.rendered(i); err != nil {
			return err
		}
		l.want[i.Host] = append(l.want[i.Host], plan.Wanted{Item: plan.Item{
			Kind: plan.Data, Name: i.Name, Owner: i.Name, Hash: l.contents(i.Name),
		}})
		cfg := l.instanceConfig(i)
		dir := cfg.Dir
		l.service(i.Host, databaseService(i.Name, dir, nil, l.input.SizesOf(i)),
			append([]string{cfg.Install.Key(), cfg.Install.Path(), dir, cfg.Bind, strconv.Itoa(cfg.Port)}, cfg.Args...)...)
		for _, account := range l.accounts(i) {
			l.want[i.Host] = append(l.want[i.Host], plan.Wanted{Item: plan.Item{
				Kind: plan.Account, Name: account.user + "@" + account.host, Owner: i.Name,
				Hash: plan.Hash([]byte(strings.Join(account.statements(), ";"))),
			}})
		}
	}
	return nil
}

// contents identifies a database's data: another one with the same is as good.
func (l *layout) contents(database string) string {
	t := l.Topology
	tables := "all"
	if g := t.GroupOf(database); len(t.Data.Groups) > 0 {
		tables = strings.Join(slices.Sorted(slices.Values(g.Tables)), ",")
	}
	if source := t.Source(database); source != "" && source != database {
		tables = copyOf + tables
	}
	return fmt.Sprintf("%s|%s-%d|%s", l.install.Engine, l.Scale, l.Seed, tables)
}

// copyOf begins the tables of a replica that the servers keep: it may be behind, so nothing is ever copied from it.
const copyOf = "copy of "

func isCopy(contents string) bool { return strings.Contains(contents, "|"+copyOf) }

// original are the contents of the source of such a replica.
func original(contents string) string { return strings.Replace(contents, "|"+copyOf, "|", 1) }

// allTables tells whether contents are those of a database with every table.
func allTables(contents string) bool { return strings.HasSuffix(contents, "|all") }

// sameData tells whether two contents are of one engine and dataset, whatever their tables are.
func sameData(a, b string) bool {
	return a[:strings.LastIndexByte(a, '|')] == b[:max(0, strings.LastIndexByte(b, '|'))]
}

func (l *layout) instanceConfig(i topology.Instance) dbserver.Config {
	place := l.input.Places[i.Name]
	cfg := dbserver.Config{
		Install: l.installOn(i.Host), Dir: place.Dir, Port: place.Port, Bind: place.Address, DefaultsFile: path.Join(place.Dir, render.MyCnf),
	}
	if source := l.Topology.Source(i.Name); source != "" {
		id := 1 + slices.IndexFunc(l.Topology.Of(topology.DB), func(o topology.Instance) bool { return o.Name == i.Name })
		cfg.Args = l.replication().Args(id, source != i.Name)
	}
	return cfg
}

func (l *layout) replication() dbserver.Replication {
	return dbserver.Replication{
		Engine: l.install.Engine, SemiSync: l.Topology.Data.Replication == topology.SemiSync,
		User: replicationUser, Password: l.secrets.Replication,
	}
}

// account is one of a database server's: who may come from where.
type account struct {
	user, host, password string
	grants               []string // "PRIVILEGES ON WHAT"
}

// statements make the account, or make it so again. MySQL 8 and later have no GRANT that makes a user.
func (a account) statements() []string {
	name := fmt.Sprintf("'%s'@'%s'", a.user, a.host)
	list := []string{
		fmt.Sprintf("CREATE USER IF NOT EXISTS %s IDENTIFIED BY '%s'", name, a.password),
		fmt.Sprintf("ALTER USER %s IDENTIFIED BY '%s'", name, a.password),
	}
	for _, g := range a.grants {
		list = append(list, fmt.Sprintf("GRANT %s TO %s", g, name))
	}
	return list
}

// accounts are those on a database: the app's from each host that it runs on, or that its reads come through, and from the database's
// own, where isukit looks; and the replicas' on their source.
func (l *layout) accounts(db topology.Instance) []account {
	t := l.Topology
	from := map[string]bool{"localhost": true}
	for _, i := range t.Instances {
		balances := t.Data.Balance != nil && t.Data.Balance.Host == i.Host
		if i.Role == topology.Web || i.Role == topology.API || i.Role == topology.Proxy && balances {
			from[l.input.Places[i.Name].Address] = true
		}
	}
	if !l.hosts[db.Host].About().Here {
		from[l.input.Places[db.Name].Address] = true // isukit's own way leads through the host
	}
	// The app keeps its seed tables in databases of its own next to this one.
	grants := []string{fmt.Sprintf("ALL ON `%s%%`.*", appDatabase)}
	switch {
	case l.install.Engine == dbserver.MySQL:
		grants = append(grants, "XA_RECOVER_ADMIN, SESSION_VARIABLES_ADMIN, REPLICATION CLIENT ON *.*")
	case t.Data.Write == topology.Replicated:
		grants = append(grants, "SLAVE MONITOR, BINLOG MONITOR ON *.*")
	}
	var list []account
	for _, address := range sortedKeys(from) {
		list = append(list, account{appUser, address, l.secrets.AppPassword, grants})
	}
	if t.Source(db.Name) == db.Name {
		replicas := map[string]bool{}
		for _, name := range t.GroupOf(db.Name).Databases[1:] {
			replicas[l.input.Places[name].Address] = true
		}
		for _, address := range sortedKeys(replicas) {
			list = append(list, account{replicationUser, address, l.secrets.Replication, []string{"REPLICATION SLAVE ON *.*"}})
		}
	}
	return list
}

// dsn is that of the app's account on the database at an address.
func (l *layout) dsn(address string) string {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.DBName, cfg.Net, cfg.Addr = appUser, l.secrets.AppPassword, appDatabase, "tcp", address
	cfg.Logger = log.New(io.Discard, "", 0)
	return cfg.FormatDSN()
}
