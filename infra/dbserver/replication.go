package dbserver

import (
	"fmt"

	enginemysql "isukit/infra/engine/mysql"
)

// Replication is how instances copy from one source by the server's own replication, with GTIDs and row events. The
// source and its replicas get Args; then UserSQL is run on the source and StartSQL on each replica, in this order.
type Replication struct {
	Engine Engine
	// SemiSync makes a COMMIT on the source wait until a replica has received it, for a second at most; then it goes on
	// without, and again with it when a replica has caught up. Otherwise replication is asynchronous.
	SemiSync bool
	// User and Password are the account by which replicas connect to the source.
	User, Password string
}

// Args are the options of an instance in a replication. id, 1 or more, must be unique. Only accounts with all rights write to replicas.
func (r Replication) Args(id int, replica bool) []string {
	args := []string{fmt.Sprintf("--server-id=%d", id), "--log-bin=binlog", "--relay-log=relay"}
	if r.Engine == MySQL {
		args = append(args, "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
	} else {
		args = append(args, "--binlog-format=ROW", "--gtid-strict-mode=1", "--log-slave-updates=1")
	}
	if replica {
		args = append(args, "--read-only=1")
	}
	if r.SemiSync {
		args = append(args, r.semiSyncArgs(replica)...)
	}
	return args
}

// semiSyncArgs: MariaDB has it built in, MySQL as two plugins.
func (r Replication) semiSyncArgs(replica bool) []string {
	switch {
	case r.Engine == MySQL && replica:
		return []string{"--plugin-load-add=semisync_replica.so", "--loose-rpl-semi-sync-replica-enabled=1"}
	case r.Engine == MySQL:
		return []string{"--plugin-load-add=semisync_source.so", "--loose-rpl-semi-sync-source-enabled=1", "--loose-rpl-semi-sync-source-timeout=1000"}
	case replica:
		return []string{"--rpl-semi-sync-slave-enabled=1"}
	}
	return []string{"--rpl-semi-sync-master-enabled=1", "--rpl-semi-sync-master-timeout=1000", "--rpl-semi-sync-master-wait-point=AFTER_SYNC"}
}

// UserSQL makes, on the source, the account by which replicas connect from host ('%' for anywhere).
func (r Replication) UserSQL(host string) []string {
	account := enginemysql.Quote(r.User) + "@" + enginemysql.Quote(host)
	return []string{
		"CREATE USER IF NOT EXISTS " + account + " IDENTIFIED BY " + enginemysql.Quote(r.Password),
		"GRANT REPLICATION SLAVE ON *.* TO " + account,
	}
}

// StartSQL makes a replica copy from the source at host and port, from the first event of its binary log that the replica
// lacks, and try again every second when it can't connect.
func (r Replication) StartSQL(host string, port int) []string {
	if r.Engine == MySQL {
		return []string{
			fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST=%s, SOURCE_PORT=%d, SOURCE_USER=%s, SOURCE_PASSWORD=%s, "+
				"SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=86400",
				enginemysql.Quote(host), port, enginemysql.Quote(r.User), enginemysql.Quote(r.Password)),
			"START REPLICA",
		}
	}
	return []string{
		fmt.Sprintf("CHANGE MASTER TO MASTER_HOST=%s, MASTER_PORT=%d, MASTER_USER=%s, MASTER_PASSWORD=%s, "+
			"MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1", enginemysql.Quote(host), port, enginemysql.Quote(r.User), enginemysql.Quote(r.Password)),
		"START SLAVE",
	}
}

// StopSQL ends the copying on a replica.
func (r Replication) StopSQL() string {
	if r.Engine == MySQL {
		return "STOP REPLICA"
	}
	return "STOP SLAVE"
}

// ResumeSQL begins the copying again where it stopped.
func (r Replication) ResumeSQL() string {
	if r.Engine == MySQL {
		return "START REPLICA"
	}
	return "START SLAVE"
}

// ForgetSQL ends a replica's copying and what it knows of its source.
func (r Replication) ForgetSQL() []string {
	if r.Engine == MySQL {
		return []string{"STOP REPLICA", "RESET REPLICA ALL"}
	}
	return []string{"STOP SLAVE", "RESET SLAVE ALL"}
}

// RestartLogSQL empties the binary log: all instances hold the same now, and copying begins here.
func (r Replication) RestartLogSQL() []string {
	if r.Engine == MySQL {
		return []string{"RESET BINARY LOGS AND GTIDS"}
	}
	return []string{"RESET MASTER", "SET GLOBAL gtid_slave_pos = ''"}
}
