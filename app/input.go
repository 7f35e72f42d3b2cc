package app

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"unicode/utf8"
)

// checkChars holds a field to min..max characters (code points).
func checkChars(field, s string, min, max int) error {
	if n := utf8.RuneCountInString(s); n < min || n > max {
		return badField(field, fmt.Sprintf("has %d characters; it takes %d to %d", n, min, max))
	}
	return nil
}

// checkBytes holds a field to min..max bytes.
func checkBytes(field, s string, min, max int) error {
	if n := len(s); n < min || n > max {
		return badField(field, fmt.Sprintf("has %d bytes; it takes %d to %d", n, min, max))
	}
	return nil
}

// checkName holds a login name to its letters.
func checkName(name string) error {
	if err := checkBytes("name", name, 1, 32); err != nil {
		return err
	}
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-') {
			return badField("name", `takes only a to z, 0 to 9, "_" and "-"`)
		}
	}
	return nil
}

func checkTags(tags []string) error {
	if len(tags) > 10 {
		return badField("tags", fmt.Sprintf("has %d tags; it takes up to 10", len(tags)))
	}
	for i, tag := range tags {
		if err := checkChars(fmt.Sprintf("tags[%d]", i), tag, 1, 32); err != nil {
			return err
		}
	}
	return nil
}

func checkScore(score int64) error {
	if score < 0 {
		return badField("score", "is negative")
	}
	return nil
}

// query reads a request's parameters. Unknown ones are ignored; of several with one name the first counts.
type query struct{ values url.Values }

func queryOf(r *http.Request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, refuse(http.StatusBadRequest, "bad_query", "the query string cannot be read", "")
	}
	return query{values}, nil
}

// text gives a parameter, "" when absent.
func (q query) text(name string) (string, error) {
	s := q.values.Get(name)
	if !utf8.ValidString(s) {
		return "", badParameter(name, "is not UTF-8")
	}
	return s, nil
}

// number gives a parameter within min..max, or absent when it is absent or empty.
func (q query) number(name string, min, max, absent int64) (int64, error) {
	s := q.values.Get(name)
	if s == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < min || n > max {
		return 0, badParameter(name, fmt.Sprintf("is %s; it takes a number from %d to %d", clip(s), min, max))
	}
	return n, nil
}

// before gives the id that a page of a list ends at.
func (q query) before() (int64, error) {
	return q.number("before", 1, math.MaxInt64, math.MaxInt64)
}

// pathID gives the id in the path. What is no id names nothing, so it is 404 like any other id that names nothing.
func pathID(r *http.Request, name, what string) (int64, error) {
	s := r.PathValue(name)
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 {
		return 0, notFound(what, clip(s))
	}
	return id, nil
}
