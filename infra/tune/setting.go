package tune

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"isukit/infra/engine"
)

// Kind is what a tuning's settings belong to; it is the first part of the tuning's name.
type Kind string

// The kinds of targets.
const (
	Sysctl Kind = "sysctl" // keys of the kernel
	Link   Kind = "link"   // network interfaces
	Boot   Kind = "boot"   // arguments of the kernel
	Limits Kind = "limits" // of processes
	MySQL  Kind = "mysql"  // MySQL and MariaDB
	Nginx  Kind = "nginx"
	Envoy  Kind = "envoy"
)

// Kinds are all kinds, in the order in which tunings are listed.
func Kinds() []Kind { return []Kind{Sysctl, Link, Boot, Limits, MySQL, Nginx, Envoy} }

// Tuning is a named set of settings of one kind.
type Tuning struct {
	Name     string    `json:"name"` // "mysql/memory"
	Kind     Kind      `json:"kind"`
	About    string    `json:"about"` // one sentence
	Settings []Setting `json:"settings"`
}

// Risks are the reasons of its settings of high risk; a tuning that has any is applied only when its name is accepted.
func (t Tuning) Risks() []string {
	var risks []string
	for _, s := range t.Settings {
		if s.Risk == High {
			risks = append(risks, s.Key+": "+s.RiskWhy)
		}
	}
	return risks
}

// Setting is one key with the value that the tuning gives it, and what its comment line says.
type Setting struct {
	Key   string  `json:"key"`
	Value string  `json:"value"` // an expression: see Sizes.Eval
	Why   string  `json:"why"`
	Since []Since `json:"since,omitempty"`
	// Restart is what must happen before a written file takes effect; Never if the running server takes the value.
	Restart   Restart `json:"restart"`
	Risk      Risk    `json:"risk"`
	RiskWhy   string  `json:"risk_why,omitempty"`   // what can go wrong; "" where Risk says it all
	RaiseOnly bool    `json:"raise_only,omitempty"` // a value that is already higher stays
	// Reads is the variable and the value to expect on the running server, where these are others than Key and Value:
	// skip_log_bin has no value of its own, log_bin=OFF tells that it took effect.
	Reads string `json:"reads,omitempty"`
	// Flag: the key stands in its file without a value.
	Flag bool `json:"flag,omitempty"`
}

// Risk is how much a setting can cost.
type Risk string

// The risks.
const (
	Low  Risk = "low"
	Mid  Risk = "mid"
	High Risk = "high"
)

// Restart is what a setting needs beyond being written.
type Restart string

// The kinds of restart, in growing order.
const (
	Never     Restart = "no"
	Listeners Restart = "listeners" // what listens already keeps the old value
	Reload    Restart = "reload"    // of the server's configuration
	Service   Restart = "service"   // of the server
	Reboot    Restart = "reboot"    // of the host
)

// Since says that a product knows the setting from one version on, up to but without another.
type Since struct {
	Product string         `json:"product"` // mariadb, mysql, nginx, linux
	From    engine.Version `json:"from"`
	Until   engine.Version `json:"until"` // zero: it still does
}

func (s Since) String() string {
	text := s.Product + " " + s.From.String()
	if s.Until != (engine.Version{}) {
		text += " until " + s.Until.String()
	}
	return text
}

// unknown returns "" where a product knows the setting, and otherwise the reason why it does not.
func (s Setting) unknown(p engine.Product) string {
	var others []string
	for _, since := range s.Since {
		if since.Product != p.Name {
			others = append(others, since.String())
			continue
		}
		if p.Version.Compare(since.From) < 0 {
			return fmt.Sprintf("%s does not have %s, which is new in %s", p, s.Key, since.From)
		}
		if since.Until != (engine.Version{}) && p.Version.Compare(since.Until) >= 0 {
			return fmt.Sprintf("%s does not have %s, which was removed in %s", p, s.Key, since.Until)
		}
		return ""
	}
	return fmt.Sprintf("%s does not have %s, which is a setting of %s", p, s.Key, strings.Join(others, ", "))
}

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

// raised is the higher of both, field by field, or current if no field is higher. Texts without order give wanted.
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
