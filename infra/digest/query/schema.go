package query

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SchemaStatement reads performance_schema's counters, for the client with --batch. It uses only columns that every version has.
const SchemaStatement = "SELECT IFNULL(SCHEMA_NAME,''), IFNULL(DIGEST_TEXT,''), COUNT_STAR, SUM_TIMER_WAIT, MAX_TIMER_WAIT, SUM_LOCK_TIME, " +
	"SUM_ROWS_SENT, SUM_ROWS_EXAMINED, SUM_ROWS_AFFECTED FROM performance_schema.events_statements_summary_by_digest WHERE DIGEST IS NOT NULL"

// schemaColumns is how many columns SchemaStatement has.
const schemaColumns = 9

// FromSchema returns what performance_schema counted between two readings of SchemaStatement, each as the client prints it with --batch and
// --skip-column-names. It has neither quantiles nor examples; if the highest time of a row did not change in between, its average is used
// instead.
func FromSchema(before, after string) (*Digest, error) {
	old, err := schemaRows(before)
	if err != nil {
		return nil, err
	}
	now, err := schemaRows(after)
	if err != nil {
		return nil, err
	}
	g := gatherer{queries: map[string]*Query{}}
	for _, key := range slices.SortedFunc(maps.Keys(now), schemaKey.compare) {
		row := now[key].since(old[key])
		if row.count > 0 {
			g.out.Statements += row.count
			g.query(Fingerprint(key.text)).addRow(key.database, row)
		}
	}
	return g.digest(), nil
}

// schemaKey is the key of performance_schema's counters, except for texts that it has cut.
type schemaKey struct{ database, text string }

func (k schemaKey) compare(o schemaKey) int {
	return cmp.Or(cmp.Compare(k.database, o.database), cmp.Compare(k.text, o.text))
}

type schemaRow struct {
	count                  int64
	took, max, lock        time.Duration
	sent, looked, affected int64
}

// since is what was counted since before; max is the highest time, or the average.
func (r schemaRow) since(before schemaRow) schemaRow {
	if r.count < before.count { // it was emptied in between
		before = schemaRow{}
	}
	d := schemaRow{
		count: r.count - before.count, took: r.took - before.took, max: r.max, lock: r.lock - before.lock,
		sent: r.sent - before.sent, looked: r.looked - before.looked, affected: r.affected - before.affected,
	}
	if r.max <= before.max && d.count > 0 {
		d.max = d.took / time.Duration(d.count)
	}
	return d
}

// plus adds the row of another digest with the same text.
func (r schemaRow) plus(o schemaRow) schemaRow {
	return schemaRow{
		count: r.count + o.count, took: r.took + o.took, max: max(r.max, o.max), lock: r.lock + o.lock,
		sent: r.sent + o.sent, looked: r.looked + o.looked, affected: r.affected + o.affected,
	}
}

func (q *Query) addRow(database string, r schemaRow) {
	q.Database = cmp.Or(q.Database, database)
	q.Time.Count += r.count
	q.Time.Sum += r.took
	q.Time.Max = max(q.Time.Max, r.max)
	q.Lock += r.lock
	q.RowsSent += r.sent
	q.RowsExamined += r.looked
	q.RowsAffected += r.affected
}

func schemaRows(text string) (map[schemaKey]schemaRow, error) {
	rows := map[schemaKey]schemaRow{}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(cells) != schemaColumns {
			return nil, fmt.Errorf("read performance_schema: a row has %d columns, want %d", len(cells), schemaColumns)
		}
		var n [schemaColumns]int64
		for i := 2; i < schemaColumns; i++ {
			var err error
			if n[i], err = strconv.ParseInt(cells[i], 10, 64); err != nil {
				return nil, fmt.Errorf("read performance_schema: %w", err)
			}
		}
		const perNano = 1000 // its timers count picoseconds
		key := schemaKey{database: cells[0], text: unescape.Replace(cells[1])}
		rows[key] = rows[key].plus(schemaRow{
			count: n[2], took: time.Duration(n[3] / perNano), max: time.Duration(n[4] / perNano), lock: time.Duration(n[5] / perNano),
			sent: n[6], looked: n[7], affected: n[8],
		})
	}
	return rows, nil
}

// unescape undoes what the client does in batch mode.
var unescape = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\\`, `\`, `\0`, "")
