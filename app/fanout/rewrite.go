package fanout

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"forge.example/account/isukit/app/fanout/internal/sqltext"
)

// rewritten is q as every replica is to execute it: where what it does depends on more than the rows that it finds, that is
// found out on the first replica, under its locks, and written into the statement.
func (t *orderedTxn) rewritten(ctx context.Context, q call) (call, error) {
	if len(t.parts) == 1 {
		return q, nil // what one replica does is what all do
	}
	if t.loose && !t.narrow(q) {
		return q, t.refuse("at READ COMMITTED, which this transaction was begun with, each replica may find other rows; name the row by a unique key, or leave sql.TxOptions.Isolation out")
	}
	how := q.v.How
	if q.v.Is(sqltext.OnePick) && !picks(t.table(q), q.st.Equals, q.args) {
		if q.st.Form.Limit.Empty() || t.table(q).Primary() == nil {
			return q, t.refuse("the value that is compared with a column of the key is not of the column's kind, so it may name several rows; pass a number for a number, a string for a string")
		}
		how |= sqltext.PickRows
	}
	var err error
	if how&sqltext.SendRows != 0 {
		if q, err = t.sendRows(ctx, q); err != nil {
			return q, err
		}
		how = q.v.How
	}
	if q.text != "" && how&(sqltext.SendIDs|sqltext.AllGiven) != 0 && !q.st.NextID {
		switch all, reason := t.idsOf(q, 0); {
		case reason != "":
			return q, t.refuse(reason)
		case !all && q.v.Is(sqltext.AllGiven):
			return q, t.refuse("ON DUPLICATE KEY UPDATE sets or reads the id, and not every row has one; leave the id out of it, except for id = LAST_INSERT_ID(id)")
		}
	}
	if how&sqltext.PickRows != 0 && !(q.st.Form.Limit.Empty() && picks(t.table(q), q.st.Equals, q.args)) {
		if q, err = t.pickRows(ctx, q); err != nil {
			return q, err
		}
	}
	if how&sqltext.SendMade != 0 {
		if q, err = t.sendMade(ctx, q); err != nil {
			return q, err
		}
	}
	if q.text != "" && q.v.Is(sqltext.HoldKeys) {
		return q, t.holdKeys(ctx, q)
	}
	return q, nil
}

// narrow reports whether q touches no rows but those that it gives or names by a key, so that the locks on these are enough.
func (t *orderedTxn) narrow(q call) bool {
	f := &q.st.Form
	switch {
	case f.Rows != nil:
		return !q.st.Queries() && !f.Ignore && !q.v.Is(sqltext.HoldKeys)
	case q.v.Is(sqltext.PickRows):
		return !q.st.Queries() // what it sets may come from rows that nobody holds
	}
	return f.Table != "" && len(q.st.Equals) > 0 && picks(t.table(q), q.st.Equals, q.args)
}

// table is the one that q changes.
func (t *orderedTxn) table(q call) *sqltext.Table {
	if table := t.c.p.schema.Load().Tables[q.st.Form.Table]; table != nil {
		return table
	}
	return &sqltext.Table{}
}

// refuse ends the transaction, which has only executed questions of the statement, and returns the reason.
func (t *orderedTxn) refuse(reason string) error {
	if t.alone {
		return t.abort(refused(reason))
	}
	return refused(reason)
}

// ask sends a query to the first replica, in the transaction.
func (t *orderedTxn) ask(ctx context.Context, text string, args []driver.NamedValue) (*rowSets, error) {
	first := t.live()[0]
	a, err := first.run(ctx, t.c, call{text: text, args: args}, t.begun, noPins, true)
	if err != nil {
		return nil, t.firstFailed(ctx, first, err)
	}
	return a.rows, nil
}

// rewrite is q with another text and other arguments, of which the rules say the same or less.
func (t *orderedTxn) rewrite(q call, text string, args []driver.NamedValue) (call, error) {
	st := t.c.p.texts.Get(text)
	v := st.Judge(t.c.p.schema.Load())
	if v.Outcome == sqltext.Refuses {
		return q, t.refuse(v.Reason)
	}
	out := call{st: st, v: v, text: text, args: ordered1(args)}
	return t.c.p.packetHolds(out)
}

// ordered1 numbers the arguments from 1.
func ordered1(args []driver.NamedValue) []driver.NamedValue {
	out := slices.Clone(args)
	for i := range out {
		out[i].Ordinal = i + 1
	}
	return out
}

func cut(q call, s sqltext.Span) (text string, args []driver.NamedValue) {
	return q.text[s.Pos:s.End], q.args[min(s.Arg, len(q.args)):min(s.Arg+s.Args, len(q.args))]
}

// maxPicked bounds the rows that one UPDATE or DELETE may change that are named by their key (PickRows).
const maxPicked = 10_000

// pickRows has an UPDATE or DELETE name by their key the rows that it would change on the first replica, which stay locked there.
func (t *orderedTxn) pickRows(ctx context.Context, q call) (call, error) {
	f := &q.st.Form
	key := t.table(q).Primary().Columns
	list := make([]string, len(key))
	for i, c := range key {
		list[i] = quoteName(c)
	}
	name, _ := cut(q, f.Name)
	text := "SELECT " + strings.Join(list, ", ") + " FROM " + name
	var args []driver.NamedValue
	for _, part := range []struct {
		word string
		span sqltext.Span
	}{{" WHERE ", f.Where}, {" ORDER BY ", f.Order}, {" LIMIT ", f.Limit}} {
		if !part.span.Empty() {
			s, a := cut(q, part.span)
			text += part.word + s
			args = append(args, a...)
		}
	}
	rows, err := t.ask(ctx, text+" FOR UPDATE", ordered1(args))
	if err != nil {
		return q, err
	}
	picked := rows.sets[0].rows
	if len(picked) > maxPicked {
		return q, t.refuse("a write whose rows are passed on by their key changes " + strconv.Itoa(len(picked)) + " rows; the limit is " + strconv.Itoa(maxPicked))
	}
	head, args := q.text[:f.Name.End], []driver.NamedValue(nil)
	if f.Verb == "UPDATE" {
		_, args = cut(q, f.Sets)
		head = q.text[:f.Sets.End]
	}
	where, values := named(list, t.table(q), key, picked)
	text = head + " WHERE " + where
	args = append(slices.Clone(args), values...)
	if !f.Returning.Empty() {
		s, a := cut(q, f.Returning)
		text, args = text+" RETURNING "+s, append(args, a...)
	}
	return t.rewrite(q, text, args)
}

// named is a condition for the rows with these keys.
func named(list []string, t *sqltext.Table, key []string, picked [][]driver.Value) (string, []driver.NamedValue) {
	if len(picked) == 0 {
		return "FALSE", nil
	}
	var args []driver.NamedValue
	conds := make([]string, len(picked))
	for i, row := range picked {
		parts := make([]string, len(key))
		for j := range key {
			parts[j] = list[j] + " = ?"
			args = append(args, driver.NamedValue{Value: asArg(row[j], t.Column(key[j]).Type)})
		}
		conds[i] = strings.Join(parts, " AND ")
	}
	if len(conds) == 1 {
		return conds[0], args
	}
	return "(" + strings.Join(conds, ") OR (") + ")", args
}

// asArg is a value that was read, as an argument that means the same.
func asArg(v driver.Value, columnType string) driver.Value {
	return columnInfo{dataType: columnType}.value(v)
}

// commas are n times s.
func commas(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s+", ", n), ", ") }

// sendRows runs the query of an INSERT ... SELECT on the first replica, under locks, and has its rows inserted.
func (t *orderedTxn) sendRows(ctx context.Context, q call) (call, error) {
	f := &q.st.Form
	text, args := cut(q, f.Query)
	if !t.alone {
		if !q.st.Locking() {
			return q, t.refuse("inside a transaction, the query of an INSERT ... SELECT that orders, limits, groups or numbers is passed on only where it " +
				"is one plain SELECT, which can be locked; run the statement outside a transaction, or SELECT the rows FOR SHARE first and insert them")
		}
		text += q.st.LockTail()
	}
	rows, err := t.ask(ctx, text, ordered1(args))
	if err != nil {
		return q, err
	}
	set := rows.sets[0]
	if slices.Contains(set.types, "FLOAT") {
		return q, t.refuse("FLOAT values lose digits on their way; SELECT ... CAST(x AS DOUBLE)")
	}
	head := q.text[:f.Name.End]
	if !f.List.Empty() {
		head = q.text[:f.List.End]
	}
	if len(set.rows) == 0 {
		return call{st: q.st, v: &sqltext.Verdict{}, text: "", args: nil}, nil
	}
	var values []driver.NamedValue
	for _, row := range set.rows {
		for j, v := range row {
			values = append(values, driver.NamedValue{Value: asArg(v, lowerType(set.types, j))})
		}
	}
	s, a := cut(q, sqltext.Span{Pos: f.Query.End, End: len(q.text), Arg: f.Query.Arg + f.Query.Args, Args: len(q.args)})
	text = head + " VALUES " + commas("("+commas("?", len(set.columns))+")", len(set.rows)) + " " + s
	return t.rewrite(q, text, append(values, a...))
}

func lowerType(types []string, i int) string {
	if i >= len(types) {
		return ""
	}
	return strings.ToLower(types[i])
}

// madeBatch bounds the defaults that one question has computed.
const madeBatch = 200

// sendMade lets the first replica compute, once for each row, defaults that each would compute alone, and writes them into the statement.
func (t *orderedTxn) sendMade(ctx context.Context, q call) (call, error) {
	f := &q.st.Form
	made := q.st.Made(t.c.p.schema.Load())
	exprs := make([]string, len(made))
	for i, c := range made {
		exprs[i] = c.MadeExpr
	}
	one := "SELECT " + strings.Join(exprs, ", ")
	var values [][]driver.Value
	var types []string
	for left := len(f.Rows); left > 0; left -= madeBatch {
		n := min(left, madeBatch)
		rows, err := t.ask(ctx, one+strings.Repeat(" UNION ALL "+one, n-1), nil)
		if err != nil {
			return q, err
		}
		values, types = append(values, rows.sets[0].rows...), rows.sets[0].types
	}
	var e edits
	for i, c := range made {
		at := q.st.Place(t.c.p.schema.Load(), c.Name)
		if at < 0 {
			e.add(f.List.End-1, f.List.End-1, !f.List.Empty(), ", "+quoteName(c.Name), 0)
		}
		for j, row := range f.Rows {
			v := driver.NamedValue{Value: asArg(values[j][i], lowerType(types, i))}
			last := row[len(row)-1]
			switch {
			case at >= 0 && at < len(row) && !row[at].IsDefault(q.text):
			case at >= 0 && at < len(row):
				e.add(row[at].Pos, row[at].End, true, "?", row[at].Arg, v)
			case f.Assigned():
				e.add(last.End, last.End, true, ", "+quoteName(c.Name)+" = ?", last.Arg+last.Args, v)
			default:
				e.add(last.End, last.End, true, ", ?", last.Arg+last.Args, v)
			}
		}
	}
	return t.rewrite(q, e.text(q.text), e.args(q.args))
}

// edits are changes to a text, and the arguments that they bring.
type edits []edit

type edit struct {
	pos, end int
	text     string
	arg      int // how many of the text's own arguments come before it
	values   []driver.NamedValue
}

func (e *edits) add(pos, end int, wanted bool, text string, arg int, values ...driver.NamedValue) {
	if wanted {
		*e = append(*e, edit{pos, end, text, arg, values})
	}
}

func (e edits) text(s string) string {
	slices.SortStableFunc(e, func(a, b edit) int { return a.pos - b.pos })
	var b strings.Builder
	from := 0
	for _, one := range e {
		b.WriteString(s[from:one.pos] + one.text)
		from = one.end
	}
	return b.String() + s[from:]
}

func (e edits) args(args []driver.NamedValue) (out []driver.NamedValue) {
	from := 0
	for _, one := range e {
		if len(one.values) > 0 {
			out = append(out, args[from:one.arg]...)
			from = one.arg
		}
		out = append(out, one.values...)
	}
	return append(out, args[from:]...)
}

// nextID is the id from which the others must count when they execute q, after the first one's answer a; 0 if q generated none.
func (t *orderedTxn) nextID(ctx context.Context, q call, a answer, lastID int64) (int64, error) {
	if !q.v.Is(sqltext.SendIDs) || a.id == 0 {
		return 0, nil
	}
	f := &q.st.Form
	if all, reason := t.idsOf(q, lastID); all {
		return 0, nil
	} else if reason != "" {
		return 0, t.abort(refused(reason))
	}
	if !f.Upsert {
		return a.id, nil
	}
	if len(f.Rows) == 1 && !t.c.p.foundRows && f.Returning.Empty() {
		if a.affected == 1 {
			return a.id, nil
		}
		return 0, nil
	}
	return t.firstNew(ctx, q, a)
}

// forOthers is q for the replicas that execute after the first one. Where that one generated no id for an upsert, the others try each row with a
// number of their own, which may be that of a row already: they reserve numbers at other times than the first one. Such a row must not be
// taken for the one that is met, so they fail then (collides).
func (t *orderedTxn) forOthers(q call, with pins) call {
	f := &q.st.Form
	if !f.Upsert || !q.v.Is(sqltext.SendIDs) || with.insertID != 0 {
		return q
	}
	if all, _ := t.idsOf(q, with.lastID); all {
		return q
	}
	table, _ := cut(q, f.Name)
	auto := quoteName(t.table(q).Auto)
	id := table + "." + auto
	q.text = q.text[:f.Sets.Pos] + id + " = IF(" + id + " = VALUES(" + auto + "), (SELECT 1 UNION ALL SELECT 2), " + id + "), " + q.text[f.Sets.Pos:]
	q.prep, q.guards = nil, true
	return q
}

// collides reports whether another replica tried a row with a number that is taken, or that is too low for the row that it met.
func (q call) collides(err error) bool {
	n := numberOfError(err)
	return n == 1869 || q.guards && n == 1242
}

// idsOf reports whether all rows of an INSERT have an id of their own, and, where only some have, why it is refused.
func (t *orderedTxn) idsOf(q call, lastID int64) (all bool, reason string) {
	switch q.st.GivenIDs(t.c.p.schema.Load(), q.args, lastID) {
	case sqltext.AllIDs:
		return true, ""
	case sqltext.SomeIDs:
		return false, "some rows have an id and some are to be numbered, so the numbers need not follow each other; give all rows an id, or none"
	case sqltext.DoubtfulIDs:
		return false, "whether the server numbers a row depends on what it makes of the value that is given for the id; pass a whole number, or leave the id out"
	}
	return false, ""
}

// firstNew is the id that an upsert generated first. What the first replica names may also be that of the last row that was
// there before, or what LAST_INSERT_ID(id) gave; then another replica has a row with that id, and none was generated. That one
// waits for those that are about to commit such a row.
func (t *orderedTxn) firstNew(ctx context.Context, q call, a answer) (int64, error) {
	other := t.live()[1]
	name := quoteName(t.table(q).Auto)
	table, _ := cut(q, q.st.Form.Name)
	ids := a.ids
	if ids == nil {
		ids = []int64{a.id}
	}
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = strconv.FormatUint(uint64(id), 10)
	}
	ask := call{text: "SELECT " + name + " FROM " + table + " WHERE " + name + " IN (" + strings.Join(list, ",") + ") LOCK IN SHARE MODE"}
	b, err := other.run(ctx, t.c, ask, "", noPins, true)
	if err != nil {
		if jerr := t.judge(ctx, q, a, []verdict{{other, answer{}, err}}); jerr != nil {
			return 0, jerr
		}
		if len(t.live()) > 1 {
			return t.firstNew(ctx, q, a)
		}
		return 0, nil
	}
	old := map[int64]bool{}
	for _, row := range b.rows.sets[0].rows {
		var id sql.NullInt64
		if err := id.Scan(row[0]); err != nil {
			return 0, err
		}
		old[id.Int64] = true
	}
	for _, id := range ids {
		if !old[id] {
			return id, nil
		}
	}
	return 0, nil
}

// withIDs has an INSERT ... RETURNING return the ids of its rows as well, behind what it is asked for.
func (t *orderedTxn) withIDs(q call) call {
	if q.st.Form.Returning.Empty() || !q.v.Is(sqltext.SendIDs) {
		return q
	}
	end := q.st.Form.Returning.End
	q.text = q.text[:end] + ", " + quoteName(t.table(q).Auto) + q.text[end:]
	q.prep, q.ids = nil, true
	return q
}

// takeIDs takes those ids out of an answer's rows.
func (a *answer) takeIDs() error {
	if a.rows == nil || len(a.rows.sets) == 0 {
		return nil
	}
	set := &a.rows.sets[0]
	n := len(set.columns) - 1
	set.columns = set.columns[:n]
	a.ids = []int64{}
	for i, row := range set.rows {
		var id sql.NullInt64
		if err := id.Scan(row[n]); err != nil {
			return fmt.Errorf("the id of a row that was returned: %w", err)
		}
		set.rows[i] = row[:n]
		a.ids = append(a.ids, id.Int64)
	}
	if len(a.ids) > 0 {
		a.id = a.ids[0]
	}
	return nil
}
