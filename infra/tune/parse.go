package tune

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"isukit/infra/engine"
)

// MaxFileBytes bounds a tuning's file.
const MaxFileBytes = 64 << 10

// Parse reads a tuning's file; file is its name for messages. All errors are reported together, each as "FILE:LINE: ...".
func Parse(file string, text []byte) (Tuning, error) {
	if len(text) > MaxFileBytes {
		return Tuning{}, fmt.Errorf("%s: more than %d bytes", file, MaxFileBytes)
	}
	if bytes.ContainsRune(text, 0) {
		return Tuning{}, fmt.Errorf("%s: it is not text", file)
	}
	p := &parser{file: file}
	if p.plain(string(text)) {
		return p.tuning, errors.Join(p.faults...)
	}
	p.header(string(text))
	switch p.tuning.Kind {
	case Nginx:
		p.nginxFile(string(text))
	case Envoy:
		p.envoyFile(string(text))
	default:
		p.lines(string(text))
	}
	if len(p.tuning.Settings) == 0 && len(p.faults) == 0 {
		p.fault(1, "it has no setting")
	}
	return p.tuning, errors.Join(p.faults...)
}

type parser struct {
	file   string
	tuning Tuning
	faults []error
}

func (p *parser) fault(line int, format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf("%s:%d: %s", p.file, line, fmt.Sprintf(format, args...)))
}

// plain reads an option file of MySQL or a file of sysctl as a tuning of which each key is a setting, as its owner has written it; false
// where the text is neither.
func (p *parser) plain(text string) bool {
	kind, products := Sysctl, []Since{{Product: "linux"}}
	switch {
	case strings.HasPrefix(text, "# Tuning"):
		return false
	case strings.HasSuffix(p.file, ".cnf") && strings.Contains(text, "["):
		kind, products = MySQL, []Since{{Product: "mysql"}, {Product: "mariadb"}}
	case !plainSysctl.MatchString(text):
		return false
	}
	base := strings.ToLower(path.Base(p.file))
	name := strings.Trim(notInTunings.ReplaceAllString(strings.TrimSuffix(base, path.Ext(base)), "-"), "-")
	p.tuning = Tuning{Name: string(kind) + "/" + name, Kind: kind, About: "from " + p.file}
	section, n := "", 0
	for line := range strings.Lines(text) {
		n++
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '!':
			p.fault(n, "%s: a tuning is one file", line)
			continue
		case line[0] == '[':
			section = strings.Trim(line, "[] ")
			continue
		case kind == MySQL && !slices.Contains([]string{"mysqld", "mariadbd", "mariadb", "server"}, section):
			continue
		}
		key, value, hasValue := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		s := Setting{Key: key, Value: value, Why: "from " + p.file, Since: products, Restart: Never, Risk: Low, Flag: !hasValue}
		if kind == MySQL {
			s.Restart = Service
			if s.Flag {
				s.Reads = strings.ReplaceAll(key, "-", "_") + "=ON"
				if key = strings.ReplaceAll(key, "-", "_"); key == "skip_log_bin" || key == "disable_log_bin" {
					s.Reads = "log_bin=OFF"
				}
			}
		}
		if !keyRE.MatchString(s.Key) || kind == Sysctl && (s.Flag || value == "") {
			p.fault(n, "%q is not a setting", line)
		}
		p.tuning.Settings = append(p.tuning.Settings, s)
	}
	if len(p.tuning.Settings) == 0 && len(p.faults) == 0 {
		p.fault(1, "it has no setting of a server")
	}
	return true
}

var (
	plainSysctl  = regexp.MustCompile(`(?m)\A(\s*([#;].*)?\n)*(net|vm|fs|kernel)\.[a-z0-9_.-]+\s*=`)
	notInTunings = regexp.MustCompile(`[^a-z0-9]+`)
)

var headerRE = regexp.MustCompile(`^# Tuning ([a-z]+)/([a-z0-9-]+): (.+)$`)

// header reads the first line: "# Tuning mysql/memory: what it is for".
func (p *parser) header(text string) {
	line, _, _ := strings.Cut(text, "\n")
	m := headerRE.FindStringSubmatch(strings.TrimRight(line, "\r "))
	if m == nil {
		p.fault(1, `the first line must be "# Tuning KIND/NAME: what it is for"`)
		return
	}
	p.tuning.Name, p.tuning.Kind, p.tuning.About = m[1]+"/"+m[2], Kind(m[1]), m[3]
	for _, k := range Kinds() {
		if k == p.tuning.Kind {
			return
		}
	}
	p.fault(1, "kind %q is none of %v", m[1], Kinds())
}

// lines reads "key = value" below a comment line each; "[section]" lines are for the server that reads the file.
func (p *parser) lines(text string) {
	comment, seen, n := "", map[string]bool{}, 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "["):
			comment = ""
		case strings.HasPrefix(line, "#"):
			comment = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		default:
			key, value, hasValue := strings.Cut(line, "=")
			key, value = strings.TrimSpace(key), strings.TrimSpace(value)
			if seen[key] {
				p.fault(n, "%s is set twice", key)
			}
			seen[key] = true
			p.add(n, key, value, comment, !hasValue)
			comment = ""
		}
	}
}

var keyRE = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9_./-]*$`)

func (p *parser) add(line int, key, value, comment string, flag bool) {
	s := Setting{Key: key, Value: value, Restart: Never, Flag: flag}
	switch {
	case p.tuning.Kind != Nginx && p.tuning.Kind != Envoy && (!keyRE.MatchString(key) || strings.Contains(key, "..")):
		p.fault(line, "%q is not a key", key)
	case value == "" && !flag:
		p.fault(line, "%s has no value", key)
	case flag && p.tuning.Kind != MySQL:
		p.fault(line, `want "key = value", got %q`, key)
	}
	if comment == "" {
		p.fault(line, "%s has no comment line above it: why; since VERSION; restart: ...; risk: ...", key)
		return
	}
	if err := s.readComment(comment); err != nil {
		p.fault(line, "the comment of %s: %v", key, err)
	}
	if _, err := (Sizes{MemoryBytes: 1 << 30, CPUs: 1}).Eval(value); err != nil {
		p.fault(line, "%s: %v", key, err)
	}
	if flag && s.Reads == "" {
		p.fault(line, `%s has no value, so its comment must have "reads VARIABLE=VALUE"`, key)
	}
	p.tuning.Settings = append(p.tuning.Settings, s)
}

// readComment reads "why; since linux 4.9; restart: no; risk: low; raise only".
func (s *Setting) readComment(comment string) error {
	var faults []error
	for i, part := range strings.Split(comment, ";") {
		part = strings.TrimSpace(part)
		word, rest, _ := strings.Cut(part, " ")
		var err error
		switch {
		case i == 0:
			s.Why = part
		case word == "since":
			s.Since, err = parseSince(rest)
		case word == "restart:":
			s.Restart, err = parseRestart(rest)
		case word == "risk:":
			s.Risk, s.RiskWhy, err = parseRisk(rest)
		case part == "raise only":
			s.RaiseOnly = true
		case word == "reads" && strings.Contains(rest, "="):
			s.Reads = rest
		default:
			err = fmt.Errorf("%q is none of since, restart:, risk:, raise only, reads", part)
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	if s.Why == "" {
		faults = append(faults, errors.New("it does not say why"))
	}
	if len(s.Since) == 0 {
		faults = append(faults, errors.New(`it does not say since which version ("since nginx 1.1.4")`))
	}
	if s.Risk == "" {
		faults = append(faults, errors.New(`the risk is missing ("risk: low")`))
	}
	return errors.Join(faults...)
}

func parseSince(text string) ([]Since, error) {
	var list []Since
	for part := range strings.SplitSeq(text, ",") {
		f := strings.Fields(part)
		if len(f) != 2 && (len(f) != 4 || f[2] != "until") {
			return nil, fmt.Errorf(`since %q: want "PRODUCT VERSION" or "PRODUCT VERSION until VERSION"`, strings.TrimSpace(part))
		}
		s := Since{Product: f[0]}
		var err error
		if s.From, err = engine.ParseVersion(f[1]); err == nil && len(f) == 4 {
			s.Until, err = engine.ParseVersion(f[3])
		}
		if err != nil {
			return nil, fmt.Errorf("since: %w", err)
		}
		list = append(list, s)
	}
	return list, nil
}

func parseRestart(text string) (Restart, error) {
	for _, r := range []Restart{Never, Listeners, Reload, Service, Reboot} {
		if string(r) == text {
			return r, nil
		}
	}
	return "", fmt.Errorf("restart %q is none of no, listeners, reload, service, reboot", text)
}

func parseRisk(text string) (Risk, string, error) {
	level, why, _ := strings.Cut(text, ",")
	why = strings.TrimSpace(why)
	for _, r := range []Risk{Low, Mid, High} {
		if string(r) == level {
			if r == High && why == "" {
				return "", "", errors.New(`a high risk needs its reason ("risk: high, rows are lost when the host crashes")`)
			}
			return r, why, nil
		}
	}
	return "", "", fmt.Errorf("risk %q is none of low, mid, high", level)
}
