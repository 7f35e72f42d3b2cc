// Package engine has what the readers and editors of nginx, Envoy and MySQL configurations share: versions, and values of keys.
package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Mark ends the first line of what isukit put into a configuration.
const Mark = " # isukit tune"

// ErrGone says that something is not there any more, such as a process or a block of a configuration.
var ErrGone = errors.New("it is gone")

// Version is major, minor and patch.
type Version [3]int

func (v Version) String() string {
	if v[2] == 0 {
		return fmt.Sprintf("%d.%d", v[0], v[1])
	}
	return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2])
}

// Compare is negative where v is older than w.
func (v Version) Compare(w Version) int { return slices.Compare(v[:], w[:]) }

// ParseVersion reads the leading "1.2.3" of a text, of which the last parts may be missing.
func ParseVersion(text string) (Version, error) {
	var v Version
	for i, part := range strings.SplitN(text, ".", 3) {
		digits := part[:len(part)-len(strings.TrimLeft(part, "0123456789"))]
		if digits == "" || len(digits) > 6 {
			return Version{}, fmt.Errorf("%q is not a version such as 10.11 or 8.0.30", text)
		}
		for _, d := range digits {
			v[i] = v[i]*10 + int(d-'0')
		}
		if digits != part {
			break
		}
	}
	return v, nil
}

// Product is a server, or a kernel, of one version.
type Product struct {
	Name    string // mariadb, mysql, nginx, envoy, linux
	Version Version
}

func (p Product) String() string { return p.Name + " " + p.Version.String() }

// Value is what a key has; Absent says that it has none.
type Value struct {
	Text   string
	Absent bool
}

func (v Value) String() string {
	if v.Absent {
		return "(none)"
	}
	first, _, more := strings.Cut(strings.TrimSpace(v.Text), "\n")
	if more {
		return first + " ..."
	}
	return first
}

// Equal tells whether both mean the same.
func (v Value) Equal(w Value) bool { return v.Absent == w.Absent && (v.Absent || Same(v.Text, w.Text)) }

// Number reads a count or a size with K, M or G, as servers' files have them.
func Number(text string) (float64, bool) {
	factor := 1.0
	if n := len(text); n > 1 {
		if at := strings.IndexByte("KMG", text[n-1]&^0x20); at >= 0 && text[n-1] >= 'A' {
			factor, text = math.Pow(1024, float64(at+1)), text[:n-1]
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	return f * factor, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// Same tells whether two texts mean one value: "64M" is 67108864, "ON" is 1 and "true", fields may be apart by any blanks.
func Same(a, b string) bool { return canonical(a) == canonical(b) }

func canonical(text string) string {
	fields := strings.Fields(strings.Trim(strings.TrimSpace(text), `"'`))
	for i, f := range fields {
		switch strings.ToUpper(f) {
		case "ON", "TRUE", "YES":
			f = "1"
		case "OFF", "FALSE", "NO":
			f = "0"
		}
		if n, ok := Number(f); ok {
			f = strconv.FormatFloat(n, 'f', -1, 64)
		}
		fields[i] = f
	}
	return strings.Join(fields, " ")
}
