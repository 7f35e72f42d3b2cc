package access

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Texts of formats that have a name.
const (
	// combined is nginx's and Apache's log_format of that name. What follows it on a line is searched for times.
	combined = `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent`
	// envoyText is Envoy's default format. It escapes nothing; neither method nor path has a space.
	envoyText = `[$time] "$method $uri $protocol" $status $response_flags $bytes_received $bytes $duration $x_envoy_upstream_service_time `
)

// lineReader reads the lines of one file.
type lineReader struct {
	format  string
	shape   shape
	labels  map[string]known // those of a log_format that writes JSON or LTSV, or of a person; they come before names
	zone    *time.Location
	scratch []byte
	// reported says that the digest has the format of this file.
	reported bool
}

func formatOf(name string, zone *time.Location) (lineReader, error) {
	var err error
	r := lineReader{format: name, zone: zone}
	first, labels, labelled := strings.Cut(name, " ")
	switch {
	case first == "json" || first == "ltsv":
		r.format = first
		if labelled {
			r.labels, err = givenLabels(labels)
		}
	case name == "":
	case name == "combined":
		r.shape, err = parseShape(combined)
		r.shape.rest = true
	case name == "envoy":
		r.shape, err = parseShape(envoyText)
		r.shape.rest, r.shape.raw = true, true
	default:
		err = r.logFormat(name)
	}
	return r, err
}

// IsLogFormat tells a log_format from a name of one.
func IsLogFormat(text string) bool {
	return text == "" || strings.ContainsAny(text, "$%") || isKnownFormat(text)
}

func isKnownFormat(text string) bool {
	first, _, _ := strings.Cut(text, " ")
	return slices.Contains([]string{"json", "ltsv", "combined", "envoy"}, first)
}

// givenLabels reads "label=name label=name".
func givenLabels(text string) (map[string]known, error) {
	labels := map[string]known{}
	for _, one := range strings.Fields(text) {
		label, name, _ := strings.Cut(one, "=")
		k, ok := names[name]
		if !ok || label == "" {
			return nil, fmt.Errorf("%q maps no label to a name that is known: write it as latency=duration_ms", one)
		}
		labels[label] = k
	}
	return labels, nil
}

func (r *lineReader) known(label []byte) known {
	if k, ok := r.labels[string(label)]; ok {
		return k
	}
	return names[string(label)]
}

var (
	variable  = regexp.MustCompile(`\$(\{[a-zA-Z0-9_]+\}|[a-zA-Z0-9_]+)`)
	jsonLabel = regexp.MustCompile(`"([^"]+)"\s*:\s*"?\$\{?([a-z0-9_]+)\}?"?\s*[,}]`)
	ltsvLabel = regexp.MustCompile(`(?:^|\t)([^:\t]+):\$\{?([a-z0-9_]+)\}?(?:\t|$)`)
	// directive is an operator of Envoy's, or a directive of Apache's and H2O's with its modifiers and its argument.
	directive = regexp.MustCompile(`(%[A-Z][A-Z_]{2,}(?:\([^)]*\))?(?::\d+)?%)|%[<>!,0-9]*(\{[^}]*\})?(\^[A-Za-z]{2,3}|[A-Za-z])`)
)

// directives are those of other servers by nginx's names.
var directives = map[string]string{
	"r": "$request", "s": "$status", "b": "$bytes_sent", "B": "$bytes_sent", "O": "$bytes_sent", "m": "$request_method", "U": "$uri", "t": "[$time_local]",
	"D": "$request_time_us", "T": "$request_time", "{s}T": "$request_time", "{ms}T": "$request_time_ms", "{us}T": "$request_time_us",
	"{sec}t": "$msec", "{msec}t": "$msec", "{usec}t": "$msec", "{%s}t": "$msec",
	"{duration}x": "$request_time", "{proxy.process-time}x": "$upstream_response_time", "{proxy.total-time}x": "$upstream_response_time",
	"START_TIME": "$time", "REQ(:METHOD)": "$method", "REQ(:PATH)": "$uri", "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)": "$uri", "RESPONSE_CODE": "$status",
	"BYTES_SENT": "$bytes", "DURATION": "$request_time_ms", "RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)": "$upstream_service_time",
}

// logFormat reads a log_format of nginx, Envoy, Apache or H2O. One that writes JSON or LTSV is read as that, by its own labels.
func (r *lineReader) logFormat(format string) error {
	format = strings.NewReplacer(`\t`, "\t", `\"`, `"`, `\'`, `'`, `\\`, `\`).Replace(format)
	format = directive.ReplaceAllStringFunc(format, func(text string) string {
		m := directive.FindStringSubmatch(text)
		key := m[2] + m[3]
		if m[1] != "" {
			r.shape.raw = true
			key, _, _ = strings.Cut(strings.Trim(m[1], "%"), ":0")
			if bare, _, ok := strings.Cut(key, "("); ok && bare == "START_TIME" {
				key = bare
			}
		}
		if name := directives[key]; name != "" {
			return name
		}
		return "${not_read}"
	})
	label := (*regexp.Regexp)(nil)
	switch {
	case strings.HasPrefix(strings.TrimSpace(format), "{"):
		r.format, label = "json", jsonLabel
	case strings.Contains(format, "\t") && ltsvLabel.MatchString(format):
		r.format, label = "ltsv", ltsvLabel
	default:
		raw := r.shape.raw
		var err error
		r.format = "format"
		r.shape, err = parseShape(format)
		r.shape.raw = raw
		return err
	}
	r.labels = map[string]known{}
	for from := 0; ; {
		m := label.FindStringSubmatchIndex(format[from:])
		if m == nil {
			return nil
		}
		if k, ok := names[format[from+m[4]:from+m[5]]]; ok {
			r.labels[format[from+m[2]:from+m[3]]] = k
		}
		from += m[5] // the separator begins the next
		if from < len(format) && format[from] == '}' {
			from++
		}
	}
}

// read parses a line; the first that some format can read decides on that.
func (r *lineReader) read(line []byte, e *entry) bool {
	if r.format != "" {
		return r.parse(line, e)
	}
	for _, name := range []string{"json", "ltsv", "envoy", "combined"} {
		if found, err := formatOf(name, r.zone); err == nil && found.parse(line, e) {
			*r = found
			return r.parse(line, e) // what it parsed lies in its own memory
		}
	}
	return false
}

func (r *lineReader) parse(line []byte, e *entry) bool {
	*e = entry{zone: r.zone}
	var ok bool
	switch r.format {
	case "json":
		ok = r.parseJSON(line, e)
	case "ltsv":
		ok = r.parseLTSV(line, e)
		e.path = r.unescaped(e.path)
	default:
		ok = r.shape.match(line, e)
		if !r.shape.raw {
			e.path = r.unescaped(e.path)
		}
	}
	return ok && (e.status != 0 || e.path != nil)
}

// unescaped decodes nginx's and H2O's "\x22", and Apache's "\"" and "\\". Other backslashes stay, as H2O leaves them.
func (r *lineReader) unescaped(value []byte) []byte {
	if !slices.Contains(value, '\\') {
		return value
	}
	out := r.scratch[:0]
	for at := 0; at < len(value); at++ {
		c := value[at]
		if c == '\\' && at+1 < len(value) {
			next := value[at+1]
			if n, err := strconv.ParseUint(string(value[at+2:min(at+4, len(value))]), 16, 8); next == 'x' && at+4 <= len(value) && err == nil {
				c, at = byte(n), at+3
			} else if i := strings.IndexByte(`"\ntrbfv`, next); i >= 0 {
				c, at = "\"\\\n\t\r\b\f\v"[i], at+1
			}
		}
		out = append(out, c)
	}
	r.scratch = out
	return out
}
