package doctor

import (
	"context"
	"fmt"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"

	"isukit/infra/engine/mysql"
)

// Database is a database server as observed.
type Database struct {
	Name    string
	Version string // as the server says it
	// Variables are its global ones.
	Variables map[string]string
	// Origins are where a variable's value is from: COMPILE-TIME, CONFIG, SQL, ... Not every server has them.
	Origins  map[string]string
	Accounts []Account
	// Clients are the apps on other hosts that are to connect.
	Clients []Client
	// Options are the option files that it reads, or would if they were as they should.
	Options []mysql.OptionFile
	// Statements are those with JSON_CONTAINS that its performance schema has counted.
	Statements []Statement
	// PID is its process; 0 where it is not known.
	PID int
}

// Client is an app on another host that logs in to a database.
type Client struct {
	Address string // of its host
	User    string // "" where it is not known
}

// Account is one that may log in.
type Account struct {
	User, Host, Plugin string
}

// MariaDB tells whether the server is one.
func (d Database) MariaDB() bool { return strings.Contains(strings.ToLower(d.Version), "mariadb") }

func (d Database) major() int {
	digits, _, _ := strings.Cut(d.Version, ".")
	n, _ := strconv.Atoi(digits) // a version without one is as old as can be
	return n
}

// number is a variable that is one, or 0.
func (d Database) number(name string) int64 {
	n, _ := strconv.ParseInt(d.Variables[name], 10, 64) // what is not there is not set
	return n
}

func (d Database) on(name string) bool {
	v := strings.ToUpper(d.Variables[name])
	return v != "" && v != "OFF" && v != "0" && v != "NO"
}

// LookAtDatabase asks a server of what account q has for everything that checks want to know.
func LookAtDatabase(ctx context.Context, name string, q mysql.Querier) (Database, error) {
	d := Database{Name: name, Variables: map[string]string{}, Origins: map[string]string{}}
	rows, err := q.Query(ctx, "SHOW GLOBAL VARIABLES")
	if err != nil {
		return d, fmt.Errorf("inspect %s: %w", name, err)
	}
	for _, row := range rows {
		if len(row) == 2 {
			d.Variables[strings.ToLower(row[0])] = row[1]
		}
	}
	d.Version = d.Variables["version"]
	statement := "SELECT VARIABLE_NAME, VARIABLE_SOURCE FROM performance_schema.variables_info"
	if d.MariaDB() {
		statement = "SELECT VARIABLE_NAME, GLOBAL_VALUE_ORIGIN FROM information_schema.SYSTEM_VARIABLES"
	}
	// Older servers and accounts with fewer rights return an error: then the checks use the values alone.
	if rows, err := q.Query(ctx, statement); err == nil {
		for _, row := range rows {
			d.Origins[strings.ToLower(row[0])] = strings.ToUpper(row[1])
		}
	}
	if rows, err := q.Query(ctx, "SELECT User, Host, plugin FROM mysql.user"); err == nil {
		for _, row := range rows {
			d.Accounts = append(d.Accounts, Account{row[0], row[1], row[2]})
		}
	}
	d.Statements = statementsOf(ctx, q)
	return d, ctx.Err()
}

func (o *Observed) databases(fn func(h Host, d Database)) {
	for _, h := range o.Hosts {
		for _, d := range h.Databases {
			fn(h, d)
		}
	}
}

// queryCacheDefault is what MariaDB has by default, with type OFF: nobody asked for that one.
const queryCacheDefault = 1 << 20

func queryCache(o *Observed, add func(Finding)) {
	o.databases(func(h Host, d Database) {
		if !d.MariaDB() && d.major() >= 8 {
			lostQueryCache(h, d, add)
			return
		}
		size, origin := d.number("query_cache_size"), d.Origins["query_cache_size"]
		asked := size > queryCacheDefault || size > 0 && (origin == "CONFIG" || origin == "SQL")
		if !asked || d.on("query_cache_type") {
			return
		}
		add(Finding{
			Severity: Warn, Host: h.Name, Subject: d.Name,
			Seen: fmt.Sprintf("the query cache has %s but query_cache_type is OFF: it does nothing", bytesText(size)),
			Fix:  "SET GLOBAL query_cache_type = ON;   -- and query_cache_type = 1 under [mysqld]; isukit tune show mysql/query-cache shows when it helps",
		})
	})
}

// lostQueryCache finds settings of the query cache in the option files of a server that has none. It would not start with them,
// were they not written as loose_.
func lostQueryCache(h Host, d Database, add func(Finding)) {
	for _, f := range d.Options {
		for _, key := range f.Keys() {
			if !strings.Contains(key, "query_cache") {
				continue
			}
			add(Finding{
				Severity: Warn, Host: h.Name, Subject: f.Path,
				Seen: fmt.Sprintf("%s is set, but %s has no query cache since 8.0: it does nothing, and without loose_ the server does not start", key, d.Version),
				Fix:  fmt.Sprintf("sed -i '/query_cache/d' %s   # cache in the app or the proxy instead", f.Path),
			})
			break
		}
	}
}

func durability(o *Observed, add func(Finding)) {
	o.databases(func(h Host, d Database) {
		say := func(severity Severity, seen, fix string) {
			add(Finding{Severity: severity, Host: h.Name, Subject: d.Name, Seen: seen, Fix: fix})
		}
		if v, ok := d.Variables["innodb_doublewrite"]; ok && !d.on("innodb_doublewrite") {
			say(Warn, fmt.Sprintf("innodb_doublewrite is %s: a crash or power failure during a write leaves a torn page that cannot be repaired; the app may fail the reboot test", v),
				"remove innodb_doublewrite from the option file and restart the server   # it cannot be changed while it runs")
		}
		switch d.Variables["innodb_flush_log_at_trx_commit"] {
		case "0":
			say(Warn, "innodb_flush_log_at_trx_commit is 0: commits are lost also when only the server dies, and it gains nothing over 2",
				"SET GLOBAL innodb_flush_log_at_trx_commit = 2;   -- and in the option file")
		case "2":
			say(Note, "innodb_flush_log_at_trx_commit is 2: up to a second of commits is lost when the host crashes", "SET GLOBAL innodb_flush_log_at_trx_commit = 1;   -- before a reboot test")
		}
		if d.on("log_bin") && d.Variables["sync_binlog"] == "0" && !d.MariaDB() {
			say(Note, "log_bin is ON with sync_binlog 0: the binary log costs writes and may end short after a crash", "isukit tune apply mysql/no-binlog   # where nothing replicates")
		}
	})
}

// poolWarnRatio is the share of the memory limit that a buffer pool may have: connections and the page cache want the rest.
const poolWarnRatio = 0.8

func memoryLimit(o *Observed, add func(Finding)) {
	o.databases(func(h Host, d Database) {
		limit, whose := h.MemoryBytes, "the host may use"
		for _, p := range h.Processes {
			if p.PID == d.PID && d.PID != 0 && p.MemoryLimit > 0 && (limit == 0 || p.MemoryLimit < limit) {
				limit, whose = p.MemoryLimit, "its control group may use"
			}
		}
		pool := d.number("innodb_buffer_pool_size")
		if limit == 0 || float64(pool) < poolWarnRatio*float64(limit) {
			return
		}
		f := Finding{Severity: Warn, Host: h.Name, Subject: d.Name, Seen: fmt.Sprintf("innodb_buffer_pool_size is %s, and %s %s", bytesText(pool), whose, bytesText(limit))}
		if pool >= limit {
			f.Severity = Crit
			f.Seen += ": the server is killed when it fills"
		}
		if h.MemTotal > limit+limit/10 {
			f.Seen += fmt.Sprintf(" (not the %s of /proc/meminfo)", bytesText(h.MemTotal))
		}
		f.Fix = fmt.Sprintf("SET GLOBAL innodb_buffer_pool_size = %d;   -- and in the option file; isukit tune apply mysql/memory sizes it by the limit", limit/2>>20<<20)
		add(f)
	})
}

func loopback(address string) bool {
	if address == "localhost" {
		return true
	}
	ip := net.ParseIP(address)
	return ip != nil && ip.IsLoopback()
}

func allowsFrom(pattern, address string) bool {
	if pattern == "%" {
		return true
	}
	if network, mask, ok := strings.Cut(pattern, "/"); ok {
		ip, in, m := net.ParseIP(address), net.ParseIP(network), net.ParseIP(mask)
		if ip == nil || in == nil || m == nil || ip.To4() == nil || in.To4() == nil || m.To4() == nil {
			return false
		}
		return ip.Mask(net.IPMask(m.To4())).Equal(in.To4())
	}
	ok, err := path.Match(strings.NewReplacer("%", "*", "_", "?").Replace(strings.ToLower(pattern)), address)
	return err == nil && ok
}

// systemUsers are accounts that come with the server; no app logs in with them.
var systemUsers = []string{"root", "mysql", "mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema", "debian-sys-maint", "PUBLIC", ""}

func isSystem(a Account) bool { return slices.Contains(systemUsers, a.User) }
