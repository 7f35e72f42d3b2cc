package access

import (
	"bytes"
	"math"
	"strconv"
	"time"
)

// parseInt reads digits, at most 18 of them.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// parseSeconds reads one time or a list of them, "0.003, 0.120 : -": nginx writes a comma between the servers that it tried
// and a colon between the locations that it was sent on to. It returns their sum and their number; a dash is none.
func parseSeconds(b []byte, unit time.Duration) (sum time.Duration, n int, ok bool) {
	for len(b) > 0 {
		end := bytes.IndexAny(b, ",: ")
		one := b
		if end >= 0 {
			one, b = b[:end], b[end+1:]
		} else {
			b = nil
		}
		if len(one) == 0 || len(one) == 1 && one[0] == '-' {
			continue
		}
		d, ok := parseDuration(one, unit)
		if !ok {
			return 0, 0, false
		}
		sum += d
		n++
	}
	return sum, n, true
}

// parseDuration reads a decimal number of unit; see known for units that depend on the number. It may have an exponent, or end in the name
// of a unit instead, as Go writes durations: "1m2.5s", "35µs".
func parseDuration(b []byte, unit time.Duration) (time.Duration, bool) {
	if c := b[len(b)-1]; c == 's' || c == 'm' || c == 'h' {
		d, err := time.ParseDuration(string(b))
		return d, err == nil && d >= 0
	}
	exponent := bytes.ContainsAny(b, "eE")
	if unit <= 0 {
		switch {
		case exponent || bytes.IndexByte(b, '.') >= 0:
			unit = time.Second
		case unit == bareNanos:
			unit = time.Nanosecond
		default:
			unit = time.Millisecond
		}
	}
	if exponent {
		f, err := strconv.ParseFloat(string(b), 64)
		f *= float64(unit)
		return time.Duration(math.Round(f)), err == nil && f >= 0 && f < math.MaxInt64/4
	}
	return decimal(b, unit)
}

// decimal reads "12.345" of unit, exactly to the nanosecond.
func decimal(b []byte, unit time.Duration) (time.Duration, bool) {
	whole, fraction, _ := cutByte(b, '.')
	if len(whole) == 0 && len(fraction) == 0 {
		return 0, false
	}
	var n int64
	if len(whole) > 0 {
		var ok bool
		if n, ok = parseInt(whole); !ok || n > math.MaxInt64/4/int64(unit) {
			return 0, false
		}
	}
	d := time.Duration(n) * unit
	for _, c := range fraction {
		if c < '0' || c > '9' {
			return 0, false
		}
		unit /= 10
		d += time.Duration(c-'0') * unit
	}
	return d, true
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// zonedLayouts and zonelessLayouts are tried in their order. A fraction of the second may follow in each.
var (
	zonedLayouts    = []string{time.RFC3339Nano, "2006-01-02T15:04:05-0700", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05Z07:00"}
	zonelessLayouts = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "02/Jan/2006:15:04:05", "2006/01/02 - 15:04:05", "2006/01/02 15:04:05"}
)

// parseTime reads seconds since 1970 with or without a fraction (milli-, micro- or nanoseconds by their size), RFC 3339,
// "02/Jan/2006:15:04:05 -0700", also in brackets, and others with or without a zone; one without is in the given zone.
func parseTime(b []byte, zone *time.Location) (at time.Time, zoned, ok bool) {
	if n := len(b); n > 2 && b[0] == '[' && b[n-1] == ']' {
		b = b[1 : n-1]
	}
	if b[0] >= '0' && b[0] <= '9' && (len(b) < 5 || b[2] != '/' && b[4] != '-' && b[4] != '/') {
		at, ok = unixTime(b)
		return at, true, ok
	}
	if len(b) == 26 && b[2] == '/' && b[6] == '/' {
		at, ok = localTime(b)
		return at, true, ok
	}
	for _, layout := range zonedLayouts {
		if at, err := time.Parse(layout, string(b)); err == nil {
			return at, true, true
		}
	}
	if zone == nil {
		zone = time.UTC
	}
	for _, layout := range zonelessLayouts {
		if at, err := time.ParseInLocation(layout, string(b), zone); err == nil {
			return at, false, true
		}
	}
	return time.Time{}, false, false
}

func unixTime(b []byte) (time.Time, bool) {
	if d, ok := decimal(b, time.Second); ok {
		return time.Unix(0, int64(d)), true
	}
	// What is too much for seconds is in a smaller unit, and its fraction of no interest.
	whole, _, _ := cutByte(b, '.')
	n, err := strconv.ParseInt(string(whole), 10, 64)
	switch {
	case err != nil:
		return time.Time{}, false
	case n > 1e17:
		return time.Unix(0, n), true
	case n > 1e14:
		return time.UnixMicro(n), true
	}
	return time.UnixMilli(n), true
}

// localTime reads "02/Jan/2006:15:04:05 -0700" without the cost of time.Parse, which would be most of a line's.
func localTime(b []byte) (time.Time, bool) {
	month := bytes.Index([]byte(months), b[3:6])
	numbers := [...][]byte{b[0:2], b[7:11], b[12:14], b[15:17], b[18:20], b[22:24], b[24:26]}
	var n [len(numbers)]int
	for i, digits := range numbers {
		v, ok := parseInt(digits)
		if !ok {
			return time.Time{}, false
		}
		n[i] = int(v)
	}
	if month < 0 || month%3 != 0 {
		return time.Time{}, false
	}
	zone := time.Duration(n[5])*time.Hour + time.Duration(n[6])*time.Minute
	if b[21] == '-' {
		zone = -zone
	}
	return time.Date(n[1], time.Month(month/3+1), n[0], n[2], n[3], n[4], 0, time.UTC).Add(-zone), true
}
