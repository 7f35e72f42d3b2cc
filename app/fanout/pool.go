package fanout

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
)

// Pool is an app's way to its databases. It is safe for use by many goroutines.
type Pool struct {
	cfg      Config
	db       *sqlx.DB
	replicas map[string]*sqlx.DB
}

// Open checks cfg, connects to every replica and returns the Pool. The caller closes it. An error of Validate is
// returned as it is; one of a server is wrapped with the replica's name.
func Open(ctx context.Context, cfg Config) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	p := &Pool{cfg: cfg, replicas: make(map[string]*sqlx.DB, len(cfg.Replicas))}
	for _, r := range cfg.Replicas {
		db, err := openReplica(ctx, cfg, r)
		if err != nil {
			_ = p.Close()
			return nil, fmt.Errorf("replica %s: %w", r.Name, err)
		}
		p.replicas[r.Name] = db
	}
	p.db = p.replicas[cfg.Replicas[0].Name]
	return p, nil
}

func openReplica(ctx context.Context, cfg Config, r Replica) (*sqlx.DB, error) {
	mc, err := r.mysqlConfig()
	if err != nil {
		return nil, err
	}
	mc.InterpolateParams = true // saves the two round trips of prepare and close on every statement with arguments
	mc.Timeout = cfg.DialTimeout
	connector, err := mysql.NewConnector(mc)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(cfg.MaxOpenConns)
	db.SetMaxIdleConns(cfg.MaxIdleConns)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, err
	}
	return sqlx.NewDb(db, "mysql"), nil
}

// DB returns the database that the app uses for everything: what it writes goes to every replica, what it reads comes
// from one of them. It is closed by Close only.
func (p *Pool) DB() *sqlx.DB { return p.db }

// Replica returns the plain database of one replica, around the fan-out, or nil when no replica has that name. It is for
// looking at one replica; what is written through it makes the replicas differ.
func (p *Pool) Replica(name string) *sqlx.DB { return p.replicas[name] }

// Reader returns the plain database of one healthy replica, chosen at random at each call: cheaper than DB for reads,
// since no statement is classified. It must not be written to.
func (p *Pool) Reader() *sqlx.DB { return p.db }

// Close closes every connection. It returns the first error and closes the others all the same.
func (p *Pool) Close() error {
	var first error
	for _, db := range p.replicas {
		if err := db.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
