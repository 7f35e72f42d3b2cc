package query

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SchemaStatement reads what performance_schema has counted, for the client of MySQL or MariaDB with --batch. It names only
// columns that every version has.
const SchemaStatement = "SELECT IFNULL(SCHEMA_NAME,''), IFNULL(DIGEST_TEXT,''), COUNT_STAR, SUM_TIMER_WAIT, MAX_TIMER_WAIT, SUM_LOCK_TIME, " +
	"SUM_ROWS_SENT, SUM_ROWS_EXAMINED, SUM_ROWS_AFFECTED FROM performance_schema.events_statements_summary_by_digest WHERE DIGEST IS NOT NULL"

// schemaColumns is how many columns SchemaStatement has.
const schemaColumns = 9

// FromSchema returns what performance_schema counted between two readings of SchemaStatement, each as the client prints it
// with --batch and --skip-column-names. It tells no quantiles and no examples; of a query whose highest time did not change
// in between the average stands for it.
func FromSchema(before, after string) (*Digest, error) {
	old, err := schemaRows(before)
	if err != nil {
		return nil, err
	}
	now, err := schemaRows(after)
	if err != nil {
		return nil, err
	}
	d := &Digest{}
	for key, row := range now {
		was := old[key]
		count := row.count - was.count
		if count < 0 { // it was emptied in between
			count, was = row.count, schemaRow{}
		}
		if count == 0 {
			continue
		}
		d.Statements += count
		q := &Query{
			Fingerprint: Fingerprint(row.text), Database: row.database, Lock: row.lock - was.lock, RowsSent: row.sent - was.sent,
			RowsExamined: row.looked - was.looked, RowsAffected: row.affected - was.affected,
		}
		q.Time.Count, q.Time.Sum = count, row.took-was.took
		if q.Time.Max = q.Time.Mean(); row.max > was.max {
			q.Time.Max = row.max
		}
		d.Queries = append(d.Queries, q)
	}
	Sort(d.Queries)
	return d, nil
}

type schemaRow struct {
	database, text         string
	count                  int64
	took, max, lock        time.Duration
	sent, looked, affected int64
}

func schemaRows(text string) (map[string]schemaRow, error) {
	rows := map[string]schemaRow{}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(cells) != schemaColumns {
			return nil, fmt.Errorf("read performance_schema: a row has %d columns, want %d", len(cells), schemaColumns)
		}
		row := schemaRow{database: cells[0], text: unescape.Replace(cells[1])}
		var n [schemaColumns]int64
		for i := 2; i < schemaColumns; i++ {
			var err error
			if n[i], err = strconv.ParseInt(cells[i], 10, 64); err != nil {
				return nil, fmt.Errorf("read performance_schema: %w", err)
			}
		}
		const perNano = 1000 // its timers count picoseconds
		row.count, row.took, row.max = n[2], time.Duration(n[3]/perNano), time.Duration(n[4]/perNano)
		row.lock, row.sent, row.looked, row.affected = time.Duration(n[5]/perNano), n[6], n[7], n[8]
		rows[row.database+"\x00"+row.text] = row
	}
	return rows, nil
}

// unescape undoes what the client does in batch mode.
var unescape = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\\`, `\`, `\0`, "")
