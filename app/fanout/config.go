package fanout

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Mode says how a write reaches the replicas.
type Mode string

// ModeSingle is one database: nothing is fanned out. It promises what the server promises.
const ModeSingle Mode = "single"

// Replica is one of several databases that hold the same tables.
type Replica struct {
	// Name is how the replica is called in errors, Status and Eject: a letter, then letters, digits, '-' or '_'.
	Name string
	// DSN is the data source name as go-sql-driver/mysql reads it. Either DSN or MySQL is set, not both.
	DSN string
	// MySQL is the parsed alternative to DSN. It is copied, never changed.
	MySQL *mysql.Config
}

// Group is a set of tables that live on a set of replicas (the vertical split).
type Group struct {
	Name     string   // how errors call the group
	Replicas []string // names of Config.Replicas; the first decides the order of writes
	Tables   []string // tables of the group, without database name
}

// Config is what a Pool is opened with. Zero values mean the default that DefaultConfig gives.
type Config struct {
	// Replicas lists the databases; the first one decides the order of writes.
	Replicas []Replica
	// Groups places tables on replicas. Empty means that every table is on every replica.
	Groups []Group
	// Mode is how writes reach the replicas. Default: ModeSingle for one replica.
	Mode Mode
	// MaxOpenConns bounds the connections to each replica. Default 32: above a few connections a core a server only queues.
	MaxOpenConns int
	// MaxIdleConns bounds the idle connections kept to each replica. Default MaxOpenConns, since dialling under load costs
	// more than an idle connection does.
	MaxIdleConns int
	// DialTimeout bounds one dial and login. Default 5 s.
	DialTimeout time.Duration
	// TxAttempts bounds how often InTx runs its function. Default 10.
	TxAttempts int
}

// DefaultConfig returns the settings that Open uses where the Config says nothing.
func DefaultConfig() Config {
	return Config{
		MaxOpenConns: 32,
		DialTimeout:  5 * time.Second,
		TxAttempts:   10,
	}
}

// withDefaults returns a copy of c in which every unset field has its default.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.MaxOpenConns == 0 {
		c.MaxOpenConns = d.MaxOpenConns
	}
	if c.MaxIdleConns == 0 {
		c.MaxIdleConns = c.MaxOpenConns
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = d.DialTimeout
	}
	if c.TxAttempts == 0 {
		c.TxAttempts = d.TxAttempts
	}
	if c.Mode == "" && len(c.Replicas) == 1 {
		c.Mode = ModeSingle
	}
	return c
}

var nameRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

// Validate reports every fault of c at once, joined with errors.Join; nil means that Open can try to connect.
func (c Config) Validate() error {
	c = c.withDefaults()
	faults := c.modeFaults()
	faults = append(faults, c.replicaFaults()...)
	faults = append(faults, c.limitFaults()...)
	return errors.Join(faults...)
}

func (c Config) modeFaults() []error {
	var faults []error
	switch {
	case c.Mode == "":
		faults = append(faults, fmt.Errorf("config: %d replicas need a mode; only %q exists so far, for one replica", len(c.Replicas), ModeSingle))
	case c.Mode != ModeSingle:
		faults = append(faults, fmt.Errorf("config: mode %q does not exist; there is %q", c.Mode, ModeSingle))
	case len(c.Replicas) > 1:
		faults = append(faults, fmt.Errorf("config: mode %q takes one replica, not %d", ModeSingle, len(c.Replicas)))
	}
	if len(c.Groups) > 0 {
		faults = append(faults, errors.New("config: groups of tables do not exist yet; leave Groups empty"))
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
		if _, err := r.mysqlConfig(); err != nil {
			faults = append(faults, fmt.Errorf("config: replica %q: %w", r.Name, err))
		}
	}
	return faults
}

func (c Config) limitFaults() []error {
	var faults []error
	if c.MaxOpenConns < 0 {
		faults = append(faults, fmt.Errorf("config: MaxOpenConns %d is negative", c.MaxOpenConns))
	}
	if c.MaxIdleConns < 0 || c.MaxIdleConns > c.MaxOpenConns {
		faults = append(faults, fmt.Errorf("config: MaxIdleConns %d is not within 0..MaxOpenConns (%d)", c.MaxIdleConns, c.MaxOpenConns))
	}
	if c.DialTimeout < 0 {
		faults = append(faults, fmt.Errorf("config: DialTimeout %v is negative", c.DialTimeout))
	}
	if c.TxAttempts < 0 {
		faults = append(faults, fmt.Errorf("config: TxAttempts %d is negative", c.TxAttempts))
	}
	return faults
}

// mysqlConfig returns the driver's configuration of r, a private copy. It never puts the DSN, which may hold a password,
// into an error.
func (r Replica) mysqlConfig() (*mysql.Config, error) {
	switch {
	case r.MySQL != nil && r.DSN != "":
		return nil, errors.New("both DSN and MySQL are set; set one")
	case r.MySQL != nil:
		if r.MySQL.DBName == "" {
			return nil, errors.New("MySQL.DBName is empty; name the database")
		}
		return r.MySQL.Clone(), nil
	case r.DSN == "":
		return nil, errors.New("neither DSN nor MySQL is set")
	}
	cfg, err := mysql.ParseDSN(r.DSN)
	if err != nil {
		return nil, err
	}
	if cfg.DBName == "" {
		return nil, errors.New("the DSN names no database")
	}
	return cfg, nil
}
