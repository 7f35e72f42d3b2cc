package fanout

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

var dsnProperties = []Property{
	{kindDSN, "loc timeTruncate", "which DATETIME a time.Time that is given becomes on each replica", false},
	{kindDSN, "parseTime", "whether a read gives a time.Time or text", false},
	{kindDSN, "clientFoundRows", "whether an UPDATE counts the rows that it found or those that it changed", false},
	{kindDSN, "collation charset", "how texts and literals are read and compared", false},
	{kindDSN, "columnsWithAlias", "the names of the columns that a read gives", false},
	{kindDSN, "interpolateParams multiStatements", "what Reader and Replica accept; the pool's own connections have both", false},
	{kindDSN, "maxAllowedPacket", "the longest statement that the driver sends", false},
	{kindDSN, "rejectReadOnly allowAllFiles", "which statements fail, and how", false},
	{kindDSN, "database name", "what a statement that names its database means, and DATABASE()", false},
	{kindDSN, "variables", "any server variable that a DSN sets, such as sql_mode or time_zone", false},
}

// perReplica are the parameters of a DSN that may differ: the way to a server, not what it is asked.
var perReplica = []string{"timeout", "readTimeout", "writeTimeout", "tls", "serverPubKey", "allowCleartextPasswords", "allowFallbackToPlaintext",
	"allowNativePasswords", "allowOldPasswords", "checkConnLiveness", "connectionAttributes", "compress"}

// dsnFaults finds parameters that change a statement's meaning between replicas, and databases that are named twice.
func (c Config) dsnFaults() []error {
	var faults []error
	var first *mysql.Config
	var firstName string
	seen := map[string]string{}
	for _, r := range c.Replicas {
		cfg, err := r.mysqlConfig()
		if err != nil || cfg == nil {
			continue // told elsewhere, or a connector of the app's own
		}
		place := cfg.Net + " " + cfg.Addr + " " + cfg.DBName
		if other, ok := seen[place]; ok {
			faults = append(faults, fmt.Errorf("config: replicas %q and %q are one database, %s at %s", other, r.Name, cfg.DBName, cfg.Addr))
		}
		seen[place] = r.Name
		if first == nil {
			first, firstName = cfg, r.Name
			continue
		}
		if c.Observer {
			continue // an observer sends only statements of its own
		}
		for _, d := range dsnDiff(first, cfg) {
			faults = append(faults, fmt.Errorf("config: the DSNs of replicas %q and %q differ in %s; give both the same", firstName, r.Name, d))
		}
	}
	return faults
}

// dsnDiff names what differs, both values with it. User, password and address are left out.
func dsnDiff(a, b *mysql.Config) []string {
	var diff []string
	pa, pb := dsnParams(a), dsnParams(b)
	for _, name := range sortedNames(pa, pb) {
		av, bv := pa.Get(name), pb.Get(name)
		if pa.Has(name) == pb.Has(name) && av == bv || slices.Contains(perReplica, name) {
			continue
		}
		reason := "it sets a variable of the server"
		for _, p := range dsnProperties {
			if slices.Contains(strings.Fields(p.Names), name) || p.Names == name {
				reason = p.Reason
			}
		}
		diff = append(diff, fmt.Sprintf("%s: %s and %s (%s)", name, shown(av, pa.Has(name)), shown(bv, pb.Has(name)), reason))
	}
	return diff
}

// dsnParams are the parameters as the driver writes them, and the database's name. What the driver leaves out is its default.
func dsnParams(c *mysql.Config) url.Values {
	c = c.Clone()
	c.User, c.Passwd = "", ""
	_, query, _ := strings.Cut(c.FormatDSN(), "?")
	params, err := url.ParseQuery(query)
	if err != nil {
		params = url.Values{}
	}
	params.Set("database name", c.DBName)
	return params
}
