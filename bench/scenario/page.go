package scenario

import (
	"fmt"

	"isukit/bench/load"
)

// page says which part of a list, newest first, was asked for: limit rows with ids below before, 0 for all.
type page struct {
	before int64
	limit  int
}

// query is what asks for the page.
func (p page) query() string {
	if p.before == 0 {
		return ""
	}
	return fmt.Sprintf("before=%d", p.before)
}

// holds reports whether a row belongs to the page of n rows whose last has the id oldest.
func (p page) holds(id, oldest int64, n int) bool {
	return (p.before == 0 || id < p.before) && (n < p.limit || id >= oldest)
}

// check wants at most limit rows of the page, the newest first, and returns the id of the last, 0 when there is none. of is what
// is listed.
func (p page) check(of string, rows int, id func(i int) int64) (oldest int64, err error) {
	if rows > p.limit {
		return 0, load.Faultf(load.Wrong, "list of "+of+" is too long", "%d, %d at most", rows, p.limit)
	}
	for i := range rows {
		switch {
		case i == 0 && p.before != 0 && id(0) >= p.before:
			// Who pages back by such a list never comes to its end.
			return 0, load.Faultf(load.Wrong, "list of "+of+" begins elsewhere than asked", "%d, asked for those before %d", id(0), p.before)
		case i > 0 && oldest <= id(i):
			return 0, load.Faultf(load.Wrong, "list of "+of+" is not in order", "%d stands before %d", oldest, id(i))
		}
		oldest = id(i)
	}
	return oldest, nil
}
