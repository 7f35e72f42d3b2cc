package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// replicatingFile is in the directory of a replica whose replication was set up; it says from where.
const replicatingFile = "replicating"

// replicate sets native replication up where it is declared and not set up, and ends it where it no longer is.
func (e *execution) replicate(ctx context.Context, servers []*server) error {
	for _, s := range servers {
		t := e.l.goal.Topology
		mark := filepath.Join(s.Dir, replicatingFile)
		was, err := s.host.Get(ctx, mark)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		source := t.Source(s.declared.Name)
		if source == "" {
			if was != nil {
				if err := errors.Join(s.Exec(ctx, e.l.replication().ForgetSQL()...), s.host.Remove(ctx, mark)); err != nil {
					return err
				}
			}
			continue
		}
		from := e.servers[source]
		now := fmt.Sprintf("%s %s:%d %s", source, from.Host, from.Port, t.Data.Replication)
		again := string(was) != now || s.data
		for _, name := range t.GroupOf(s.declared.Name).Databases {
			again = again || e.servers[name].data
		}
		if !again {
			continue
		}
		statements := append(e.l.replication().ForgetSQL(), e.l.replication().RestartLogSQL()...)
		if source != s.declared.Name {
			statements = append(statements, e.l.replication().StartSQL(from.Host, from.Port)...)
		}
		if err := s.Exec(ctx, statements...); err != nil {
			return err
		}
		if err := s.host.Put(ctx, mark, []byte(now), 0o600); err != nil {
			return err
		}
	}
	return nil
}
