package fanout

import (
	"cmp"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Replica is one of several databases that hold the same tables.
type Replica struct {
	// Name is how the replica is called in errors, Status and Eject: a letter, then letters, digits, '-' or '_'.
	Name string
	// DSN is the data source name as go-sql-driver/mysql reads it. Either DSN or MySQL is set, not both.
	DSN string
	// MySQL is the parsed alternative to DSN. It is copied, never changed.
	MySQL *mysql.Config
	// Connector replaces both, for connections of one's own making (tracing, tests). Its connections must take several
	// statements in one text, answer them with a mysql.Result, put arguments into the text, and have ExecContext and
	// QueryContext.
	Connector driver.Connector
	// Weight is this replica's share of the reads, relative to the others. Default 1.
	Weight int
}

// Group is a set of tables that live on a set of replicas (the vertical split).
type Group struct {
	Name     string   // how errors call the group
	Replicas []string // names of Config.Replicas; the first decides the order of writes
	Tables   []string // its tables, without database name; "*" in one group is every table that no other names
}

// Config is what a Pool is opened with. Zero values mean the default that DefaultConfig gives.
type Config struct {
	// Replicas lists the databases; the first one decides the order of writes.
	Replicas []Replica
	// Groups divides the tables over the replicas (the vertical split); each replica is in one group. A statement or a
	// transaction is in one group. Empty means that every table is on every replica.
	Groups []Group
	// Mode is how writes reach the replicas of a group. Default: ModeOrdered, or ModeSingle where no group has several.
	Mode Mode
	// AppProcesses is how many processes of the app write to these replicas. Default 1. ModeKeyed refuses more.
	AppProcesses int
	// Reads is the policy for reads outside of a transaction. Default Random.
	Reads ReadPolicy
	// MaxOpenConns bounds the connections to each replica, which are kept: dialling under load costs more than an idle connection does.
	// Default 32: above a few connections a core a server only queues.
	MaxOpenConns int
	// DialTimeout bounds one dial and login. Default 5 s.
	DialTimeout time.Duration
	// WriteTimeout bounds a statement of a write and a COMMIT, which go on when the caller's context has ended. Default 60 s:
	// it is for a server that answers probes and never comes to an end. Mode parallel bounds COMMIT only.
	WriteTimeout time.Duration
	// ProbeAfter is how long a statement may run before its replica is asked, over a new connection, whether it still
	// lives, and again after each such time. Default 2 s: long enough for the usual write, short enough for a frozen host.
	ProbeAfter time.Duration
	// ProbeTimeout bounds such a question. Default 1 s.
	ProbeTimeout time.Duration
	// LockWait is how long a statement waits for a row lock on the first replica; whole seconds, as the servers count.
	// Default 5 s: the servers' 50 s would hold up every replica for one. On the others it is 1 s at most. Modes single and parallel leave it to the servers.
	LockWait time.Duration
	// StatePoll is how often the pool looks whether another app process ejected or admitted a replica. Default 200 ms.
	StatePoll time.Duration
	// MaxLag is how far behind the source a replica may be in ModeReplicated and still be read, and how long a read of a Session
	// waits for its replica before it goes to the source. Default 1 s. Whether replicas keep up is looked at every StatePoll.
	MaxLag time.Duration
	// Observer opens the pool for Status, Check, Repair, Eject and Admit, and for reads, next to the app's own processes: it refuses
	// writes, does not count as an app process, opens although a replica in service does not answer, and compares nothing on its own. Mode
	// must be the app's.
	Observer bool
	// OnEject, if set, is called when this process ejects a replica, or excludes it from reads. It must return immediately, without the
	// Pool.
	OnEject func(replica, reason string)
	// TxAttempts bounds how often InTx runs its function. Default 10.
	TxAttempts int

	// OnStep, if set, is called when a write comes to a step of its protocol on a replica. It is for tests that strike there:
	// cut a connection, kill a server or the process. It must not use the pool, and the write waits for it.
	OnStep func(step, replica string)
	// WithoutRule leaves out one of the Rules, for tests that see whether replicas differ then.
	WithoutRule string
}

// DefaultConfig returns the settings that Open uses where the Config says nothing.
func DefaultConfig() Config {
	return Config{
		Reads:        Random,
		MaxOpenConns: 32,
		DialTimeout:  5 * time.Second,
		WriteTimeout: time.Minute,
		ProbeAfter:   2 * time.Second,
		ProbeTimeout: time.Second,
		LockWait:     5 * time.Second,
		StatePoll:    200 * time.Millisecond,
		MaxLag:       time.Second,
		TxAttempts:   10,
	}
}

// withDefaults returns a copy of c in which every unset field has its default.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	c.Reads = cmp.Or(c.Reads, d.Reads)
	c.MaxOpenConns = cmp.Or(c.MaxOpenConns, d.MaxOpenConns)
	c.DialTimeout = cmp.Or(c.DialTimeout, d.DialTimeout)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, d.WriteTimeout)
	c.ProbeAfter = cmp.Or(c.ProbeAfter, d.ProbeAfter)
	c.ProbeTimeout = cmp.Or(c.ProbeTimeout, d.ProbeTimeout)
	c.LockWait = cmp.Or(c.LockWait, d.LockWait)
	c.StatePoll = cmp.Or(c.StatePoll, d.StatePoll)
	c.MaxLag = cmp.Or(c.MaxLag, d.MaxLag)
	c.TxAttempts = cmp.Or(c.TxAttempts, d.TxAttempts)
	if c.Mode == "" {
		c.Mode = ModeSingle
		if c.mostReplicas() > 1 {
			c.Mode = ModeOrdered
		}
	}
	return c
}

var nameRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

// Validate returns all faults of c, joined with errors.Join; nil means that Open can try to connect.
func (c Config) Validate() error {
	c = c.withDefaults()
	return errors.Join(slices.Concat(c.modeFaults(), c.replicaFaults(), c.dsnFaults(), c.limitFaults())...)
}

// maxReplicas bounds the replicas of a pool: which of them a read has tried is kept in the bits of a word.
const maxReplicas = 64

func (c Config) modeFaults() []error {
	var faults []error
	switch {
	case c.Mode == ModeSingle && c.mostReplicas() > 1:
		faults = append(faults, fmt.Errorf("config: mode %q takes one replica, not %d", ModeSingle, c.mostReplicas()))
	case !slices.Contains(Modes(), c.Mode):
		faults = append(faults, fmt.Errorf("config: mode %q does not exist; there are %q", c.Mode, Modes()))
	}
	if c.Mode == ModeKeyed && c.AppProcesses > 1 {
		faults = append(faults, fmt.Errorf("config: mode %q supports one app process only, not %d; use %q", ModeKeyed, c.AppProcesses, ModeOrdered))
	}
	if c.Reads != Random && c.Reads != LeastBusy {
		faults = append(faults, fmt.Errorf("config: read policy %q does not exist; there are %q and %q", c.Reads, Random, LeastBusy))
	}
	if len(c.Replicas) > maxReplicas {
		faults = append(faults, fmt.Errorf("config: %d replicas are more than %d", len(c.Replicas), maxReplicas))
	}
	return append(faults, c.groupFaults()...)
}

// mostReplicas is the number of replicas in the group that has most.
func (c Config) mostReplicas() int {
	if len(c.Groups) == 0 {
		return len(c.Replicas)
	}
	n := 0
	for _, g := range c.Groups {
		n = max(n, len(g.Replicas))
	}
	return n
}

// groupFaults finds tables and replicas that are in no group, in two, or unknown.
func (c Config) groupFaults() []error {
	if len(c.Groups) == 0 {
		return nil
	}
	var faults []error
	places := map[string]string{}
	claim := func(what, name, group string) {
		key := what + " " + strings.ToLower(name)
		if other, ok := places[key]; ok {
			faults = append(faults, fmt.Errorf("config: %s %q is in group %q and in group %q", what, name, other, group))
		}
		places[key] = group
	}
	for _, g := range c.Groups {
		if !nameRE.MatchString(g.Name) {
			faults = append(faults, fmt.Errorf("config: group name %q is not a letter followed by letters, digits, '-' or '_'", g.Name))
		}
		if len(g.Tables) == 0 || len(g.Replicas) == 0 {
			faults = append(faults, fmt.Errorf("config: group %q has %d tables and %d replicas; it needs both", g.Name, len(g.Tables), len(g.Replicas)))
		}
		for _, t := range g.Tables {
			claim("table", t, g.Name)
		}
		for _, r := range g.Replicas {
			claim("replica", r, g.Name)
			if !slices.ContainsFunc(c.Replicas, func(x Replica) bool { return x.Name == r }) {
				faults = append(faults, fmt.Errorf("config: group %q names replica %q, which Replicas lacks", g.Name, r))
			}
		}
	}
	for _, r := range c.Replicas {
		if _, ok := places["replica "+strings.ToLower(r.Name)]; !ok {
			faults = append(faults, fmt.Errorf("config: replica %q is in no group", r.Name))
		}
	}
	return faults
}

func (c Config) replicaFaults() []error {
	if len(c.Replicas) == 0 {
		return []error{errors.New("config: no replicas; name at least one database")}
	}
	var faults []error
	var names []string
	for i, r := range c.Replicas {
		if !nameRE.MatchString(r.Name) {
			faults = append(faults, fmt.Errorf("config: replica %d: name %q is not a letter followed by letters, digits, '-' or '_'", i+1, r.Name))
		}
		if slices.Contains(names, strings.ToLower(r.Name)) {
			faults = append(faults, fmt.Errorf("config: replica %d: name %q is taken by another replica", i+1, r.Name))
		}
		names = append(names, strings.ToLower(r.Name))
		if r.Weight < 0 {
			faults = append(faults, fmt.Errorf("config: replica %q: weight %d is negative", r.Name, r.Weight))
		}
		if _, err := r.mysqlConfig(); err != nil {
			faults = append(faults, fmt.Errorf("config: replica %q: %w", r.Name, err))
		}
	}
	return faults
}

func (c Config) limitFaults() []error {
	var faults []error
	for _, limit := range []struct {
		name     string
		value    any
		negative bool
	}{
		{"AppProcesses", c.AppProcesses, c.AppProcesses < 0}, {"MaxOpenConns", c.MaxOpenConns, c.MaxOpenConns < 0}, {"TxAttempts", c.TxAttempts, c.TxAttempts < 0},
		{"DialTimeout", c.DialTimeout, c.DialTimeout < 0}, {"WriteTimeout", c.WriteTimeout, c.WriteTimeout < 0}, {"ProbeAfter", c.ProbeAfter, c.ProbeAfter < 0},
		{"ProbeTimeout", c.ProbeTimeout, c.ProbeTimeout < 0}, {"LockWait", c.LockWait, c.LockWait < 0}, {"StatePoll", c.StatePoll, c.StatePoll < 0},
		{"MaxLag", c.MaxLag, c.MaxLag < 0},
	} {
		if limit.negative {
			faults = append(faults, fmt.Errorf("config: %s %v is negative", limit.name, limit.value))
		}
	}
	return faults
}

// mysqlConfig returns the driver's configuration of r, a private copy. Errors never contain the DSN, which may have a password.
func (r Replica) mysqlConfig() (cfg *mysql.Config, err error) {
	switch {
	case r.Connector != nil && (r.DSN != "" || r.MySQL != nil):
		return nil, errors.New("a Connector is set together with DSN or MySQL; set one of them")
	case r.Connector != nil:
		return nil, nil
	case r.MySQL != nil && r.DSN != "":
		return nil, errors.New("both DSN and MySQL are set; set one")
	case r.MySQL == nil && r.DSN == "":
		return nil, errors.New("neither DSN nor MySQL is set")
	case r.MySQL != nil:
		cfg = r.MySQL.Clone()
	default:
		if cfg, err = mysql.ParseDSN(r.DSN); err != nil {
			return nil, err
		}
	}
	if cfg.DBName == "" {
		return nil, errors.New("it names no database")
	}
	return cfg, nil
}
