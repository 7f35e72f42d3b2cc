package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// count writes n with a comma between thousands.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// signed is count with a plus before what is above zero.
func signed(n int64) string {
	if n > 0 {
		return "+" + count(n)
	}
	return count(n)
}

// figure writes x with two to three digits that matter: 0.42, 4.2, 42, 4,200.
func figure(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return "-"
	case a == 0:
		return "0"
	case a < 0.001:
		return strconv.FormatFloat(x, 'g', 2, 64)
	case a < 0.01:
		return strconv.FormatFloat(x, 'f', 4, 64)
	case a < 0.095:
		return strconv.FormatFloat(x, 'f', 3, 64)
	case a < 0.995:
		return strconv.FormatFloat(x, 'f', 2, 64)
	case a < 9.95:
		return strconv.FormatFloat(x, 'f', 1, 64)
	case a < 1e15:
		return count(int64(math.Round(x)))
	default:
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
}

// percent writes a ratio of 0.42 as "42 %"; what is above zero is never shown as zero.
func percent(ratio float64) string {
	if ratio > 0 && ratio < 0.0001 {
		return "<0.01 %"
	}
	return figure(100*ratio) + " %"
}

// millis writes a duration in milliseconds with its unit, from a second on in seconds.
func millis(ms float64) string {
	if ms >= 999.5 {
		return seconds(ms / 1000)
	}
	return figure(ms) + " ms"
}

// span writes a number of seconds with the unit that suits it, down to microseconds.
func span(s float64) string {
	switch a := math.Abs(s); {
	case a == 0 || a >= 0.9995:
		return figure(s) + " s"
	case a >= 0.0009995:
		return figure(1000*s) + " ms"
	default:
		return figure(1e6*s) + " µs"
	}
}

// seconds writes a number of seconds with its unit and one decimal below 100.
func seconds(s float64) string {
	if math.Abs(s) < 99.95 {
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	}
	return figure(s) + " s"
}

// size writes a number of bytes with a binary unit.
func size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	x, u := float64(bytes), 0
	for math.Abs(x) >= 999.5 && u < len(units)-1 {
		x, u = x/1024, u+1
	}
	return figure(x) + " " + units[u]
}

// fixed writes x with the given number of decimals, for columns that are compared line by line.
func fixed(x float64, decimals int) string { return strconv.FormatFloat(x, 'f', decimals, 64) }

// cpus writes a number of CPUs: "2 CPUs", "1 CPU", "0.5 CPUs".
func cpus(n float64) string {
	if n == 1 {
		return "1 CPU"
	}
	return strings.TrimSuffix(strings.TrimSuffix(fixed(n, 2), "0"), ".0") + " CPUs"
}

// plural writes a number with its noun, of which the plural ends in s.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// clock writes a duration as m:ss.
func clock(d time.Duration) string {
	s := int(d.Round(time.Second) / time.Second)
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}
