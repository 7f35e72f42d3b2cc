package tune

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"isukit/infra/engine"
)

// Sizes are what values may depend on.
type Sizes struct {
	MemoryBytes int64 // the host's limit, not what the machine around it has
	CPUs        float64
	Shared      bool // other roles run on the host
}

var (
	shareRE = regexp.MustCompile(`^([0-9]{1,3})% of memory(?:, ([0-9]{1,3})% shared)?(?:, at most ([0-9]+[KMG]?))?$`)
	cpusRE  = regexp.MustCompile(`^(?:([0-9]{1,4}) x )?cpus$`)
)

// Eval gives an expression its value. "50% of memory, 25% shared, at most 4G" is a share of the host's memory in whole
// mebibytes, at least 64; "cpus" and "2 x cpus" are numbers of CPUs; any other text is itself.
func (z Sizes) Eval(expr string) (string, error) {
	if m := cpusRE.FindStringSubmatch(expr); m != nil {
		n, _ := strconv.Atoi("0" + m[1]) // digits
		return strconv.Itoa(max(1, n) * int(max(1, math.Ceil(z.CPUs)))), nil
	}
	m := shareRE.FindStringSubmatch(expr)
	if m == nil {
		if strings.Contains(expr, "% of") {
			return "", fmt.Errorf(`%q: want "50%% of memory", then ", 25%% shared" and ", at most 4G" where needed`, expr)
		}
		return expr, nil
	}
	percent, _ := strconv.ParseInt(m[1], 10, 64)
	if z.Shared && m[2] != "" {
		percent, _ = strconv.ParseInt(m[2], 10, 64)
	}
	if z.MemoryBytes <= 0 || percent > 100 {
		return "", fmt.Errorf("%q of %d bytes", expr, z.MemoryBytes)
	}
	bytes := z.MemoryBytes * percent / 100
	if limit, ok := engine.Number(m[3]); ok {
		bytes = min(bytes, int64(limit))
	}
	const mib = 1 << 20
	return strconv.FormatInt(max(bytes/mib, 64)*mib, 10), nil
}

// raised is the higher of both, field by field; the current one as it is where no field is higher. Texts that are not
// numbers have no order: then it is the wanted one.
func raised(current, wanted string) string {
	c, w := strings.Fields(current), strings.Fields(wanted)
	if len(c) != len(w) {
		return wanted
	}
	higher := false
	for i := range c {
		have, ok := engine.Number(c[i])
		want, ok2 := engine.Number(w[i])
		if !ok || !ok2 {
			return wanted
		}
		if want > have {
			c[i], higher = w[i], true
		}
	}
	if !higher {
		return current
	}
	return strings.Join(c, " ")
}
