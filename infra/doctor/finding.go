package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity is how much a finding matters.
type Severity string

const (
	Note Severity = "note" // worth knowing
	Warn Severity = "warn" // costs points or will
	Crit Severity = "crit" // breaks rounds
)

// rank orders severities, the worst first.
func (s Severity) rank() int { return slices.Index([]Severity{Crit, Warn, Note}, s) }

// Finding is one trap that was found.
type Finding struct {
	// Check is the ID of the check that found it.
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	Host     string   `json:"host,omitempty"`
	// Subject is what it is about: "envoy (pid 812)", "/etc/mysql/conf.d/my.cnf", "s1 -> s3:3306".
	Subject string `json:"subject,omitempty"`
	// Seen is the observation, with the numbers.
	Seen string `json:"seen"`
	// Fix is what to do: a command, or a line of the file that Subject names.
	Fix string `json:"fix"`
}

// String is a finding on one line, without its fix.
func (f Finding) String() string {
	where := strings.TrimSpace(f.Host + " " + f.Subject)
	if where != "" {
		where += ": "
	}
	return fmt.Sprintf("%s: %s%s", f.Check, where, f.Seen)
}

// Serious tells whether any of the findings is more than a note.
func Serious(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity != Note })
}

// Check is one trap that is looked for.
type Check struct {
	ID string `json:"id"`
	// About is one sentence.
	About string `json:"about"`
	// Quick checks need nothing but what Look and LookAtDatabase see in a moment: they run before every round.
	Quick bool `json:"quick"`
	run   func(o *Observed, add func(Finding))
}

// Checks are all checks, in the order in which they are listed.
func Checks() []Check {
	return []Check{
		{"file-limits", "open files of servers against their limit, 80 % of it warns", true, fileLimits},
		{"mtu-black-hole", "a connection that works with segments of 1360 bytes and hangs without", false, mtuBlackHole},
		{"mtu-path", "packets as large as the link takes get lost on the way with nobody saying so", false, mtuPath},
		{"mtu-differs", "hosts that talk to one another have interfaces of different MTU", false, mtuDiffers},
		{"query-cache", "a query cache with a size and type OFF, or asked of a server that has none", true, queryCache},
		{"proxy-cache", "an nginx cache that keeps nothing: no time to keep it, Set-Cookie, private", false, proxyCache},
		{"config-ignored", "option files that the database silently ignores: writable by all, closed directory, suffix, AppArmor, ProtectHome", false, configIgnored},
		{"grant-identified-by", "SQL that MySQL 8 refuses: GRANT ... IDENTIFIED BY, the query cache (isukit doctor lint)", false, grantIdentified},
		{"db-login", "what keeps clients on other hosts from a database: port, host, user, plugin", false, login},
		{"durability", "innodb_doublewrite and what a commit waits for, as the server has them", true, durability},
		{"mitigations", "mitigations of the processor: off, or configured and not in force", true, mitigations},
		{"memory-limit", "a database sized by the machine's memory inside a smaller control group", true, memoryLimit},
		{"swap", "swap in use", true, swapInUse},
		{"clock", "clocks that are apart", true, clocksApart},
		{"disk-full", "disks of servers that are nearly full, of bytes or of inodes", true, diskFull},
		{"cpu-others", "other processes that use much CPU", false, cpuOthers},
		{"json-contains", "JSON_CONTAINS with a text that is not JSON: an error, or silently no rows", true, jsonContains},
		{"ip-checksum", "packets that arrive with a bad IP header, as from a BPF program on a peer's egress", true, ipChecksum},
		{"tls-decrypt", "TLS under which a private key cannot decrypt a capture (isukit doctor lint)", false, tlsDecrypt},
		{"grpc-frame", "gRPC instead of plain protobuf, or the reverse (isukit doctor lint)", false, grpcFrame},
		{"proto-import", "a Wireshark search path under which an import does not resolve (isukit doctor lint)", false, protoImports},
		{"vpa-limits", "a limit without a request under a VerticalPodAutoscaler (isukit doctor lint)", false, vpaLimits},
		{"service-account", "a serviceAccountName that a diff takes out (isukit doctor lint)", false, serviceAccount},
	}
}

// Select returns the checks with these IDs, all where only is empty, without those to skip.
func Select(checks []Check, only, skip []string) ([]Check, error) {
	for _, id := range slices.Concat(only, skip) {
		if !slices.ContainsFunc(checks, func(c Check) bool { return c.ID == id }) {
			return nil, fmt.Errorf("check %q not found", id)
		}
	}
	return slices.DeleteFunc(slices.Clone(checks), func(c Check) bool {
		return len(only) > 0 && !slices.Contains(only, c.ID) || slices.Contains(skip, c.ID)
	}), nil
}

// Quick returns the checks that run before every round.
func Quick() []Check {
	return slices.DeleteFunc(Checks(), func(c Check) bool { return !c.Quick })
}

// Diagnose runs the checks on what was observed. The worst come first.
func Diagnose(o *Observed, checks []Check) []Finding {
	findings := []Finding{}
	for _, c := range checks {
		c.run(o, func(f Finding) {
			f.Check = c.ID
			findings = append(findings, f)
		})
	}
	slices.SortStableFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Severity.rank(), b.Severity.rank()) })
	return findings
}
