package result

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// idTime is the layout of the start time at the front of an ID.
const idTime = "20060102T150405Z"

// maxIDBytes bounds an ID: it is a directory's name, and a reader has to type parts of it.
const maxIDBytes = 128

// NewID returns the ID of a round of the named topology that started at the given time. Bytes of the topology's name that
// do not belong into a file name become '-'; Write adds "-2", "-3", ... when the ID is taken.
func NewID(start time.Time, topology string) string {
	name := strings.Map(func(r rune) rune {
		if idRune(r) {
			return r
		}
		return '-'
	}, topology)
	if name == "" {
		name = "round"
	}
	id := start.UTC().Format(idTime) + "-" + name
	return id[:min(len(id), maxIDBytes-8)]
}

// checkID returns an error unless id can be a directory's name on any system and is not hidden.
func checkID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("the round has no id")
	case len(id) > maxIDBytes:
		return fmt.Errorf("id of %d bytes is longer than %d", len(id), maxIDBytes)
	case id[0] == '.' || id[0] == '-':
		return fmt.Errorf("id %q begins with %q", id, id[0])
	}
	for _, r := range id {
		if !idRune(r) {
			return fmt.Errorf("id %q holds %q, which does not belong into a file name", id, r)
		}
	}
	return nil
}

func idRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

// nthID is id for n = 1 and id-n after that.
func nthID(id string, n int) string {
	if n == 1 {
		return id
	}
	return id + "-" + strconv.Itoa(n)
}
