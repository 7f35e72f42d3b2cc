package doctor

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/engine/mysql"
)

// configIgnored finds option files that a database server silently ignores.
func configIgnored(o *Observed, add func(Finding)) {
	o.databases(func(h Host, d Database) {
		server := Process{UID: -1}
		for _, p := range h.Processes {
			if d.PID != 0 && p.PID == d.PID {
				server = p
			}
		}
		for _, f := range d.Options {
			seen, fix := ignoredBy(f, server, h.AppArmor)
			if seen == "" {
				continue
			}
			if keys := f.Keys(); len(keys) > 0 {
				seen += "; what it sets has no effect: " + strings.Join(keys, ", ")
			}
			add(Finding{Severity: Warn, Host: h.Name, Subject: titleOf(f), Seen: seen, Fix: fix})
		}
	})
}

// titleOf is the path, and where it leads when that is elsewhere.
func titleOf(f mysql.OptionFile) string {
	if f.Real == "" || f.Real == f.Path {
		return f.Path
	}
	return f.Path + " -> " + f.Real
}

// ignoredBy is the reason why a server does not read the file, or "". UID is -1 if the server's user is unknown.
func ignoredBy(f mysql.OptionFile, p Process, appArmor bool) (seen, fix string) {
	copyIt := fmt.Sprintf("install -m 644 %s %s.new && mv %[2]s.new %[2]s   # replaces the link by a copy; then restart the server", f.Real, f.Path)
	switch {
	case f.Real == "":
		if !f.InDirectory {
			return "", "" // a file that need not be there
		}
		return "the link leads nowhere", "ls -l " + f.Path
	case f.InDirectory && !strings.HasSuffix(f.Path, ".cnf"):
		if len(f.Keys()) == 0 {
			return "", "" // nobody means it to be read: a README, a backup without content
		}
		return "its name does not end in .cnf, and of an included directory only such files are read", fmt.Sprintf("mv %s %s.cnf", f.Path, strings.TrimSuffix(f.Path, path.Ext(f.Path)))
	case f.Mode&0o002 != 0:
		return fmt.Sprintf("everybody may write it (mode %04o), so the server ignores it", f.Mode), "chmod o-w " + f.Real
	}
	if p.UID < 0 {
		return "", ""
	}
	for _, dir := range f.Parents {
		if !mayEnter(p, dir) {
			return fmt.Sprintf("user %d, as which the server runs, may not enter %s (mode %04o)", p.UID, dir.Path, dir.Mode), copyIt
		}
	}
	if !permits(p, f.Mode, f.Owner, f.Group, 4) {
		return fmt.Sprintf("user %d, as which the server runs, may not read it (mode %04o)", p.UID, f.Mode), "chmod 644 " + f.Real
	}
	if hidden(p, f.Real) {
		return fmt.Sprintf("%s has ProtectHome=%s: the server sees nothing below /home, /root and /run/user", p.Unit, p.ProtectHome), copyIt
	}
	if appArmor && p.Profile != "" && len(p.Rules) > 0 && strings.Contains(p.Profile, "enforce") && !mayRead(p.Rules, f.Real) {
		return fmt.Sprintf("AppArmor's profile %s does not let the server read it", p.Profile), copyIt
	}
	return "", ""
}

func mayEnter(p Process, d engine.Directory) bool { return permits(p, d.Mode, d.Owner, d.Group, 1) }

// permits tells whether a mode gives the process a right: 4 to read, 1 to enter.
func permits(p Process, mode uint32, owner, group int, right uint32) bool {
	switch {
	case p.UID == 0:
		return true
	case p.UID == owner:
		return mode>>6&right != 0
	case slices.Contains(p.GIDs, group):
		return mode>>3&right != 0
	}
	return mode&right != 0
}

// hidden tells whether systemd keeps a path from a unit.
func hidden(p Process, file string) bool {
	if p.ProtectHome != "yes" && p.ProtectHome != "tmpfs" && p.ProtectHome != "true" {
		return false
	}
	for _, dir := range []string{"/home/", "/root/", "/run/user/"} {
		if strings.HasPrefix(file, dir) {
			return true
		}
	}
	return false
}

// ruleExpr is a rule of an AppArmor profile about a file: "  owner /etc/mysql/** r,".
var ruleExpr = regexp.MustCompile(`^\s*(deny\s+)?(?:audit\s+)?(?:owner\s+)?"?(/[^\s"]*)"?\s+([a-zA-Z]+),`)

func mayRead(rules []string, file string) bool {
	may := false
	for _, line := range rules {
		m := ruleExpr.FindStringSubmatch(line)
		if m == nil || !strings.Contains(m[3], "r") || !aaMatch(m[2], file) {
			continue
		}
		if m[1] != "" {
			return false
		}
		may = true
	}
	return may
}

// aaMatch matches AppArmor's globs: ** crosses slashes, * does not, {a,b} are alternatives.
func aaMatch(glob, file string) bool {
	var b strings.Builder
	b.WriteString("^")
	depth := 0
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; {
		case c == '*' && i+1 < len(glob) && glob[i+1] == '*':
			b.WriteString(".*")
			i++
		case c == '*':
			b.WriteString("[^/]*")
		case c == '?':
			b.WriteString("[^/]")
		case c == '{':
			depth++
			b.WriteString("(?:")
		case c == '}' && depth > 0:
			depth--
			b.WriteString(")")
		case c == ',' && depth > 0:
			b.WriteString("|")
		case c == '@': // a variable such as @{PROC}, with any value
			if end := strings.IndexByte(glob[i:], '}'); end > 0 {
				b.WriteString("/?.*")
				i += end
			}
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString("$")
	re, err := regexp.Compile(b.String())
	return err == nil && re.MatchString(file)
}
