package fanout

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// dialect is how one engine is asked about its replication.
type dialect struct {
	fit      string // the binary log's format, and whether it has GTIDs
	needs    string // what makes fit right
	position string // what a source has executed
	own      string // a position that has what this connection wrote last
	sourceID string // by which a source is known to its replicas
	status   string // a replica's state

	// The columns of status that matter: whether it receives and applies, and whose it is.
	receive, apply, copied string

	waitFunc string                   // of a position and seconds: 0 when it was reached
	later    func(a, b string) string // a position that has both
}

var mysqlDialect = dialect{
	fit:      "SELECT @@global.binlog_format, @@global.gtid_mode",
	needs:    "set gtid_mode=ON",
	position: "SELECT @@global.gtid_executed",
	own:      "SELECT @@global.gtid_executed", // that of the write alone only comes with the write's answer, which the driver drops
	sourceID: "SELECT @@server_uuid",
	status:   "SHOW REPLICA STATUS",
	receive:  "Replica_IO_Running", apply: "Replica_SQL_Running", copied: "Source_UUID",
	waitFunc: "WAIT_FOR_EXECUTED_GTID_SET",
	later:    func(a, b string) string { return cmp.Or(b, a) }, // the second set was asked for later: it has the first
}

var mariadbDialect = dialect{
	fit:      "SELECT @@global.binlog_format, @@global.log_bin",
	needs:    "set log_bin and binlog_format=ROW",
	position: "SELECT @@global.gtid_binlog_pos",
	own:      "SELECT @@last_gtid",
	sourceID: "SELECT @@global.server_id",
	status:   "SHOW SLAVE STATUS",
	receive:  "Slave_IO_Running", apply: "Slave_SQL_Running", copied: "Master_Server_Id",
	waitFunc: "MASTER_GTID_WAIT",
	later:    laterByDomain,
}

// wait is the query that waits for position, for limit at most.
func (d dialect) wait(position string, limit time.Duration) string {
	safe := strings.Map(func(r rune) rune {
		if strings.ContainsRune("'\\\n", r) {
			return -1
		}
		return r
	}, position)
	return fmt.Sprintf("SELECT %s('%s', %.3f)", d.waitFunc, safe, limit.Seconds())
}

// laterByDomain joins two of MariaDB's positions, "domain-server-number": of each domain the one with the greater number.
func laterByDomain(a, b string) string {
	best := map[string]string{}
	var domains []string
	for _, list := range []string{a, b} {
		for gtid := range strings.SplitSeq(list, ",") {
			domain, _, ok := strings.Cut(gtid, "-")
			if !ok {
				continue
			}
			old, known := best[domain]
			if !known {
				domains = append(domains, domain)
			}
			if !known || numberOf(gtid) > numberOf(old) {
				best[domain] = gtid
			}
		}
	}
	for i, d := range domains {
		domains[i] = best[d]
	}
	return strings.Join(domains, ",")
}

// numberOf is the sequence number of one of MariaDB's GTIDs.
func numberOf(gtid string) uint64 {
	n, _ := strconv.ParseUint(gtid[strings.LastIndexByte(gtid, '-')+1:], 10, 64)
	return n
}
