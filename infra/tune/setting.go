package tune

import (
	"fmt"
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
	// Restart tells what has to happen before a written file has its effect; Never where the running server takes it.
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
