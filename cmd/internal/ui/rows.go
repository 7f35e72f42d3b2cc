package ui

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"isukit/infra/digest"
	"isukit/infra/digest/access"
	"isukit/infra/digest/query"
	"isukit/infra/redact"
)

// RowFigures are the columns of a digest's rows by name: each gives a string, an int64, or a float64. Quantiles are made as they are named.
type RowFigures[T any] struct {
	named map[string]func(T) any
	times func(T) *digest.Times
	usual string // the columns where none were chosen
}

// timeOf is a time in a unit, or NaN where no line told one.
func timeOf(t *digest.Times, d, unit time.Duration) any {
	if t.Count == 0 {
		return math.NaN()
	}
	return float64(d) / float64(unit)
}

// figuresOf adds what every row has: count, and its times in milliseconds, their sum in seconds.
func figuresOf[T any](times func(T) *digest.Times, usual string, named map[string]func(T) any) RowFigures[T] {
	maps.Copy(named, map[string]func(T) any{
		"sum":  func(r T) any { return timeOf(times(r), times(r).Sum, time.Second) },
		"mean": func(r T) any { return timeOf(times(r), times(r).Mean(), time.Millisecond) },
		"min":  func(r T) any { return timeOf(times(r), times(r).Min, time.Millisecond) },
		"max":  func(r T) any { return timeOf(times(r), times(r).Max, time.Millisecond) },
	})
	return RowFigures[T]{named, times, usual}
}

// RouteFigures are the columns of routes.
func RouteFigures() RowFigures[*access.Route] {
	named := map[string]func(*access.Route) any{
		"method":   func(r *access.Route) any { return r.Method },
		"path":     func(r *access.Route) any { return redact.Text(r.Path) },
		"count":    func(r *access.Route) any { return r.Count },
		"upstream": func(r *access.Route) any { return timeOf(&r.Upstream, r.Upstream.Sum, time.Second) },
		"bytes":    func(r *access.Route) any { return r.SentBytes },
		"maxbytes": func(r *access.Route) any { return r.MaxBytes },
		"closed":   func(r *access.Route) any { return r.Closed },
		"retried":  func(r *access.Route) any { return r.Retried },
	}
	for class := 1; class <= 5; class++ {
		named[strconv.Itoa(class)+"xx"] = func(r *access.Route) any { return r.Status[class] }
	}
	return figuresOf(func(r *access.Route) *digest.Times { return &r.Took }, "count,sum,mean,p50,p90,p99,max,2xx,3xx,4xx,5xx,bytes,method,path", named)
}

// QueryFigures are the columns of queries.
func QueryFigures() RowFigures[*query.Query] {
	return figuresOf(func(q *query.Query) *digest.Times { return &q.Time }, "count,sum,mean,p95,max,lock,examined,sent,affected,query", map[string]func(*query.Query) any{
		"query":    func(q *query.Query) any { return q.Fingerprint },
		"database": func(q *query.Query) any { return q.Database },
		"count":    func(q *query.Query) any { return q.Time.Count },
		"lock":     func(q *query.Query) any { return q.Lock.Seconds() },
		"examined": func(q *query.Query) any { return q.RowsExamined },
		"sent":     func(q *query.Query) any { return q.RowsSent },
		"affected": func(q *query.Query) any { return q.RowsAffected },
	})
}

func (f *RowFigures[T]) column(name string) (func(T) any, error) {
	if column, ok := f.named[name]; ok {
		return column, nil
	}
	if percent, err := strconv.ParseFloat(strings.TrimPrefix(name, "p"), 64); err == nil && name[0] == 'p' && percent > 0 && percent <= 100 {
		return func(r T) any { return timeOf(f.times(r), f.times(r).Quantile(percent/100), time.Millisecond) }, nil
	}
	return nil, UsageError(fmt.Errorf("column %q does not exist", name), "columns are "+strings.Join(slices.Sorted(maps.Keys(f.named)), ", ")+", and percentiles such as p50 or p99.9")
}

// OrderRows sorts rows by the chosen column: numbers from the highest, names from A.
func OrderRows[T any](f RowFigures[T], by string, rows []T) error {
	column, err := f.column(by)
	if err != nil {
		return err
	}
	slices.SortStableFunc(rows, func(a, b T) int {
		switch x := column(a).(type) {
		case int64:
			return cmp.Compare(column(b).(int64), x)
		case float64:
			return cmp.Compare(column(b).(float64), x)
		default:
			return cmp.Compare(fmt.Sprint(x), fmt.Sprint(column(b)))
		}
	})
	return nil
}

// PrintRows writes rows in columns that commas part (the usual ones where none are given), as table, tsv, csv or markdown.
func PrintRows[T any](w io.Writer, columns, form string, f RowFigures[T], rows []T) error {
	names := strings.Split(cmp.Or(columns, f.usual), ",")
	lines := [][]string{names}
	for _, r := range rows {
		var cells []string
		for _, name := range names {
			column, err := f.column(name)
			if err != nil {
				return err
			}
			text := ""
			switch x := column(r).(type) {
			case float64:
				if !math.IsNaN(x) {
					text = strconv.FormatFloat(x, 'f', 3, 64)
				}
			default:
				text = fmt.Sprint(x)
			}
			cells = append(cells, strings.Map(func(c rune) rune {
				if c < ' ' || c == 0x7f {
					return ' '
				}
				return c
			}, text))
		}
		lines = append(lines, cells)
	}
	switch form {
	case "csv":
		return csv.NewWriter(w).WriteAll(lines)
	case "markdown":
		lines = slices.Insert(lines, 1, slices.Repeat([]string{"---"}, len(names)))
		for _, cells := range lines {
			for i := range cells {
				cells[i] = strings.ReplaceAll(cells[i], "|", `\|`)
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
		}
		return nil
	case "tsv":
		for _, cells := range lines {
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
		return nil
	case "table":
		t := NewTable(w)
		for _, cells := range lines {
			fmt.Fprintln(t, strings.Join(cells, "\t"))
		}
		return t.Flush()
	}
	return UsageError(fmt.Errorf("format %q does not exist", form), "--output takes table, tsv, csv or markdown")
}
