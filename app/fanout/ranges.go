package fanout

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// keyRange are the rows of a table whose key is above lo and not above hi; nil means no bound.
type keyRange struct{ lo, hi []any }

// where is the range as a condition and its arguments.
func (r keyRange) where(t *tableInfo) (string, []any) {
	var conds []string
	var args []any
	if r.lo != nil {
		c, a := beyond(t.key, r.lo, ">", false)
		conds, args = append(conds, c), append(args, a...)
	}
	if r.hi != nil {
		c, a := beyond(t.key, r.hi, "<", true)
		conds, args = append(conds, c), append(args, a...)
	}
	if len(conds) == 0 {
		return "TRUE", nil
	}
	return strings.Join(conds, " AND "), args
}

// beyond compares a key of several columns with values, written out since the servers use no index for row comparisons.
func beyond(key []columnInfo, values []any, op string, orEqual bool) (string, []any) {
	var alternatives []string
	var args []any
	for i := range key {
		var b strings.Builder
		for j := range i {
			b.WriteString(quoteName(key[j].name) + " = ? AND ")
			args = append(args, values[j])
		}
		b.WriteString(quoteName(key[i].name) + " " + op)
		if orEqual && i == len(key)-1 {
			b.WriteString("=")
		}
		b.WriteString(" ?")
		args = append(args, values[i])
		alternatives = append(alternatives, b.String())
	}
	return "(" + strings.Join(alternatives, " OR ") + ")", args
}

// ranges calls f for the table's rows in ranges of about size rows, as the replica m has them. The last range has no upper
// bound, so rows that other replicas have beyond it are in it. A table without a key is one range.
func (t *tableInfo) ranges(ctx context.Context, m *member, size int, f func(keyRange) error) error {
	var lo []any
	for {
		hi, err := t.boundary(ctx, m, lo, size)
		if err != nil {
			return fmt.Errorf("replica %s: table %s: %w", m.name, t.name, err)
		}
		if err := f(keyRange{lo, hi}); err != nil {
			return err
		}
		if hi == nil {
			return nil
		}
		lo = hi
	}
}

// boundary is the key of the row size rows above lo, or nil when there are fewer.
func (t *tableInfo) boundary(ctx context.Context, m *member, lo []any, size int) ([]any, error) {
	if len(t.key) == 0 {
		return nil, nil
	}
	cond, args := keyRange{lo: lo}.where(t)
	text := fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT 1 OFFSET %d", exacts(t.key), t.from(), cond, names(t.key), size-1)
	key, into := scanTargets(len(t.key))
	err := m.admin.QueryRowContext(ctx, text, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return typed(t.key, key), nil
}

func scanTargets(n int) (values, into []any) {
	values, into = make([]any, n), make([]any, n)
	for i := range values {
		into[i] = &values[i]
	}
	return values, into
}

// typed copies the values that were read from columns into arguments.
func typed(columns []columnInfo, values []any) []any {
	out := make([]any, len(values))
	for i, v := range values {
		if b, ok := v.([]byte); ok {
			v = append([]byte{}, b...)
		}
		out[i] = columns[i].value(v)
	}
	return out
}

// sum is the number of rows in a range and a digest of them that does not depend on their order.
type sum struct {
	rows   int64
	digest uint64
}

func (t *tableInfo) sum(ctx context.Context, m *member, r keyRange) (sum, error) {
	cond, args := r.where(t)
	var s sum
	text := fmt.Sprintf("SELECT COUNT(*), COALESCE(BIT_XOR(%s), 0) FROM %s WHERE %s", t.hash(), t.from(), cond)
	if err := m.admin.QueryRowContext(ctx, text, args...).Scan(&s.rows, &s.digest); err != nil {
		return s, fmt.Errorf("replica %s: table %s: %w", m.name, t.name, err)
	}
	return s, nil
}

// equal reports whether all members have the same rows in r, as far as can be told without locks: while writes go on,
// false may only mean that one replica was asked before a write and another after it.
func (t *tableInfo) equal(ctx context.Context, members []*member, r keyRange) (bool, int64, error) {
	sums := make([]sum, len(members))
	errs := make([]error, len(members))
	inParallel(len(members), func(i int) { sums[i], errs[i] = t.sum(ctx, members[i], r) })
	if err := errors.Join(errs...); err != nil {
		return false, 0, err
	}
	for _, s := range sums[1:] {
		if s != sums[0] {
			return false, sums[0].rows, nil
		}
	}
	return true, sums[0].rows, nil
}
