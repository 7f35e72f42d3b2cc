package fanout

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// lockedRange locks the rows of a range on several replicas. It locks in replica order with gap locks: every write that the first replica
// has executed is then on the others as well, and no other one can begin.
type lockedRange struct {
	p       *group
	t       *tableInfo
	r       keyRange
	members []*member
	conns   []*sql.Conn
	rows    []map[string]uint64 // by member: a key's text and its row's digest
	keys    map[string][]any    // every key seen, as arguments
}

// lockRange locks and reads. The caller calls release.
func (p *group) lockRange(ctx context.Context, t *tableInfo, r keyRange, members []*member) (*lockedRange, error) {
	l := &lockedRange{p: p, t: t, r: r, members: members, keys: map[string][]any{}}
	for _, m := range members {
		if err := l.lockOn(ctx, m); err != nil {
			l.release()
			return nil, fmt.Errorf("replica %s: table %s: %w", m.name, t.name, err)
		}
	}
	return l, nil
}

func (l *lockedRange) lockOn(ctx context.Context, m *member) error {
	if l.p.copying != nil && len(l.conns) > 0 { // what the first one has now must have been copied
		if err := l.p.copying.bring(ctx, m); err != nil {
			return err
		}
	}
	c, err := m.admin.Conn(ctx)
	if err != nil {
		return err
	}
	l.conns = append(l.conns, c)
	for _, text := range []string{
		"SET SESSION innodb_lock_wait_timeout=5", "SET SESSION foreign_key_checks=0", "SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO'",
		"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "BEGIN",
	} {
		if _, err := c.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	found, err := l.read(ctx, c)
	l.rows = append(l.rows, found)
	return err
}

// read locks the range's rows on one replica and returns their digests by key; without a key, digest and number identify rows.
func (l *lockedRange) read(ctx context.Context, c *sql.Conn) (map[string]uint64, error) {
	cond, args := l.r.where(l.t)
	columns := l.t.hash()
	if len(l.t.key) > 0 {
		columns += ", " + exacts(l.t.key)
	}
	rows, err := c.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s FOR UPDATE", columns, l.t.from(), cond), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]uint64{}
	var digest uint64
	key, into := scanTargets(len(l.t.key))
	into = append([]any{&digest}, into...)
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		if len(l.t.key) == 0 {
			found[fmt.Sprintf("row %016x", digest)]++
			continue
		}
		args := typed(l.t.key, key)
		name := keyText(l.t.key, args)
		found[name] = digest
		l.keys[name] = args
	}
	return found, rows.Err()
}

// keyText names a row for people.
func keyText(columns []columnInfo, values []any) string {
	parts := make([]string, len(values))
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			v = fmt.Sprintf("0x%x", b)
		}
		parts[i] = fmt.Sprintf("%s=%v", columns[i].name, v)
	}
	return strings.Join(parts, ",")
}

// release rolls back transactions that were not committed, and closes their connections, whose sessions have changed.
func (l *lockedRange) release() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, c := range l.conns {
		_, _ = c.ExecContext(ctx, "ROLLBACK")
		discard(c)
	}
	l.conns = nil
}

// differing lists, sorted, the keys whose rows are not the same on every replica.
func (l *lockedRange) differing() []string {
	seen := map[string]bool{}
	for _, rows := range l.rows {
		for key := range rows {
			for _, other := range l.rows {
				if d, ok := other[key]; !ok || d != rows[key] {
					seen[key] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// versions is each replica's row for a key: a digest, or "missing".
func (l *lockedRange) versions(key string) map[string]string {
	out := make(map[string]string, len(l.members))
	for i, m := range l.members {
		out[m.name] = "missing"
		if d, ok := l.rows[i][key]; ok {
			out[m.name] = fmt.Sprintf("%016x", d)
		}
	}
	return out
}

// mendBatch limits the rows of one statement of a repair.
const mendBatch = 200

// mend makes the rows with these keys on the replica at index to those on the one at index from, and returns how many it deleted and
// inserted. verb is INSERT, or REPLACE if a wrong row outside of the range has the value of a unique key.
func (l *lockedRange) mend(ctx context.Context, verb string, from, to int, keys []string) (Mended, error) {
	var sum Mended
	for some := range slices.Chunk(keys, mendBatch) {
		m, err := l.mendSome(ctx, verb, from, to, some)
		if err != nil {
			return sum, fmt.Errorf("table %s: copy %d rows from %s to %s: %w", l.t.name, len(some), l.members[from].name, l.members[to].name, err)
		}
		sum.Deleted += m.Deleted
		sum.Inserted += m.Inserted
	}
	return sum, nil
}

func (l *lockedRange) mendSome(ctx context.Context, verb string, from, to int, keys []string) (Mended, error) {
	cond, args := l.anyOf(keys)
	columns := l.t.stored()
	rows, err := l.conns[from].QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s", exacts(columns), quoteName(l.t.name), cond), args...)
	if err != nil {
		return Mended{}, err
	}
	defer rows.Close()
	var values []any
	count := 0
	row, into := scanTargets(len(columns))
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return Mended{}, err
		}
		values = append(values, typed(columns, row)...)
		count++
	}
	if err := rows.Err(); err != nil {
		return Mended{}, err
	}
	res, err := l.conns[to].ExecContext(ctx, fmt.Sprintf("DELETE FROM %s WHERE %s", quoteName(l.t.name), cond), args...)
	if err != nil {
		return Mended{}, err
	}
	gone, err := res.RowsAffected()
	if err != nil || count == 0 {
		return Mended{Deleted: gone}, err
	}
	text := fmt.Sprintf("%s INTO %s (%s) VALUES %s", verb, quoteName(l.t.name), names(columns), commas("("+commas("?", len(columns))+")", count))
	_, err = l.conns[to].ExecContext(ctx, text, values...)
	return Mended{Deleted: gone, Inserted: int64(count)}, err
}

// anyOf is a condition for the rows with these keys.
func (l *lockedRange) anyOf(keys []string) (string, []any) {
	var args []any
	conds := make([]string, len(keys))
	for i, key := range keys {
		parts := make([]string, len(l.t.key))
		for j, c := range l.t.key {
			parts[j] = quoteName(c.name) + " = ?"
		}
		conds[i] = "(" + strings.Join(parts, " AND ") + ")"
		args = append(args, l.keys[key]...)
	}
	return strings.Join(conds, " OR "), args
}

// commit commits the repair on the replica at index i.
func (l *lockedRange) commit(ctx context.Context, i int) error {
	_, err := l.conns[i].ExecContext(ctx, "COMMIT")
	return err
}

// withLockedRange runs f on the locked range, again when a lock conflict ended it, up to ten times.
func (p *group) withLockedRange(ctx context.Context, t *tableInfo, r keyRange, members []*member, f func(*lockedRange) error) error {
	for attempt := 1; ; attempt++ {
		err := func() error {
			release, err := p.still(ctx)
			if err != nil {
				return err
			}
			defer release()
			l, err := p.lockRange(ctx, t, r, members)
			if err != nil {
				return err
			}
			defer l.release()
			return f(l)
		}()
		if outcomeOf(err) != conflict || attempt == 10 || !pause(ctx, attempt) {
			return err
		}
		p.freeJoining(ctx, members)
	}
}

// freeJoining rolls back what is prepared on replicas that are being admitted: a packet that a cut cable held up may have
// prepared a branch after Admit began. Where it hits a write of today, that one is spoiled there, and compared again.
func (p *group) freeJoining(ctx context.Context, members []*member) {
	v := p.view.Load()
	for _, m := range members {
		if s := v.states[m.index]; s == Copying || s == Verifying {
			_ = p.dropBranches(ctx, m)
		}
	}
}

var errNoKey = errors.New("the table has no primary key and no unique key without NULLs, so its rows can't be told apart")
