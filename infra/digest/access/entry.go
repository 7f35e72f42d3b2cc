package access

import "time"

// entry is one line of a log as far as it matters here. Its byte slices are those of the line.
type entry struct {
	method, path []byte // nil when the line has no request that can be read
	status       int    // 0 when not told
	at           time.Time
	took         time.Duration // of the whole request
	upstream     time.Duration // of all upstreams that were asked for it together
	hasTook      bool
	hasUpstream  bool
	tries        int // how many upstream times the line tells
	sentBytes    int64
	cache        []byte
	// zone is that of a time that names none, which zoneless reports; nil is UTC.
	zone     *time.Location
	zoneless bool
	// told has a bit for every field that had a value.
	told uint16
}

// field is the meaning of a name in a log.
type field uint8

const (
	other field = iota
	fieldTime
	fieldMethod
	fieldURI
	fieldRequest // "GET /path HTTP/1.1"
	fieldStatus
	fieldTook
	fieldUpstream
	fieldBytes
	fieldCache
)

// tellings are the fields that a digest reports when no line had them, in this order. A request line is a method and a URI.
var tellings = []struct {
	name   string
	fields uint16
}{
	{"time", 1 << fieldTime}, {"method", 1<<fieldMethod | 1<<fieldRequest}, {"path", 1<<fieldURI | 1<<fieldRequest}, {"status", 1 << fieldStatus},
	{"request time", 1 << fieldTook}, {"bytes", 1 << fieldBytes},
}

// untold are the names of what no line had a value for.
func untold(told uint16) []string {
	var all []string
	for _, t := range tellings {
		if told&t.fields == 0 {
			all = append(all, t.name)
		}
	}
	return all
}

// known is a name with its meaning and, for times, its unit; unit 0 is "seconds with a decimal point, else milliseconds", and
// bareNanos the same with nanoseconds.
type known struct {
	field field
	unit  time.Duration
}

const bareNanos time.Duration = -1

// names are those of nginx's variables, of Envoy's operators, and those that people and other tools give the fields.
var names = map[string]known{
	"time": {fieldTime, 0}, "time_local": {fieldTime, 0}, "time_iso8601": {fieldTime, 0}, "msec": {fieldTime, 0}, "ts": {fieldTime, 0},
	"timestamp": {fieldTime, 0}, "@timestamp": {fieldTime, 0}, "start_time": {fieldTime, 0}, "date": {fieldTime, 0},
	"datetime": {fieldTime, 0}, "time_rfc3339": {fieldTime, 0}, "time_rfc3339_nano": {fieldTime, 0}, "time_unix": {fieldTime, 0}, "time_unix_milli": {fieldTime, 0},
	"time_unix_micro": {fieldTime, 0}, "time_unix_nano": {fieldTime, 0}, "time_custom": {fieldTime, 0},
	"method": {fieldMethod, 0}, "request_method": {fieldMethod, 0}, "req_method": {fieldMethod, 0}, "verb": {fieldMethod, 0}, "http_method": {fieldMethod, 0},
	"uri": {fieldURI, 0}, "request_uri": {fieldURI, 0}, "path": {fieldURI, 0}, "url": {fieldURI, 0}, "document_uri": {fieldURI, 0}, "request_path": {fieldURI, 0}, "http_path": {fieldURI, 0},
	"request": {fieldRequest, 0}, "req": {fieldRequest, 0}, "request_line": {fieldRequest, 0},
	"status": {fieldStatus, 0}, "response_code": {fieldStatus, 0}, "code": {fieldStatus, 0}, "status_code": {fieldStatus, 0}, "http_status": {fieldStatus, 0},
	"request_time": {fieldTook, time.Second}, "reqtime": {fieldTook, time.Second}, "response_time": {fieldTook, time.Second}, "rt": {fieldTook, time.Second},
	"taken_sec": {fieldTook, time.Second}, "request_time_ms": {fieldTook, time.Millisecond}, "duration_ms": {fieldTook, time.Millisecond},
	"request_time_us": {fieldTook, time.Microsecond}, "reqtime_microsec": {fieldTook, time.Microsecond}, "duration": {fieldTook, 0},
	"duration_us": {fieldTook, time.Microsecond}, "duration_ns": {fieldTook, time.Nanosecond}, "latency": {fieldTook, bareNanos}, "latency_human": {fieldTook, 0},
	"latency_ms": {fieldTook, time.Millisecond}, "elapsed": {fieldTook, 0}, "elapsed_ms": {fieldTook, time.Millisecond},
	"upstream_response_time": {fieldUpstream, time.Second}, "apptime": {fieldUpstream, time.Second}, "upstream_time": {fieldUpstream, time.Second},
	"urt": {fieldUpstream, time.Second}, "upstream_response_time_ms": {fieldUpstream, time.Millisecond}, "response_duration": {fieldUpstream, 0},
	"upstream_service_time": {fieldUpstream, time.Millisecond}, "x_envoy_upstream_service_time": {fieldUpstream, time.Millisecond},
	"body_bytes_sent": {fieldBytes, 0}, "bytes_sent": {fieldBytes, 0}, "size": {fieldBytes, 0}, "body_bytes": {fieldBytes, 0}, "bytes": {fieldBytes, 0}, "bytes_out": {fieldBytes, 0},
	"upstream_cache_status": {fieldCache, 0}, "cache_status": {fieldCache, 0}, "cache": {fieldCache, 0},
}

// set takes one field of a line. It reports whether its value makes sense; a dash or nothing is a value that is not told.
func (e *entry) set(k known, value []byte) bool {
	if len(value) == 0 || len(value) == 1 && value[0] == '-' {
		return true
	}
	e.told |= 1 << k.field
	switch k.field {
	case fieldTime:
		// Without a readable time a line is kept, but not placed in time. A time with a zone is better than one without.
		if at, zoned, ok := parseTime(value, e.zone); ok && (zoned || e.at.IsZero()) {
			e.at, e.zoneless = at, !zoned
		}
	case fieldMethod:
		e.method = value
	case fieldURI:
		e.path = value
	case fieldRequest:
		e.request(value)
	case fieldStatus:
		n, ok := parseInt(value)
		e.status = int(n)
		return ok && n >= 0 && n <= 999
	case fieldTook:
		took, n, ok := parseSeconds(value, k.unit)
		e.took, e.hasTook = took, ok && n > 0
		return ok
	case fieldUpstream:
		took, n, ok := parseSeconds(value, k.unit)
		e.upstream, e.tries, e.hasUpstream = took, n, ok && n > 0
		return ok
	case fieldBytes:
		n, ok := parseInt(value)
		e.sentBytes = n
		return ok
	case fieldCache:
		e.cache = value
	}
	return true
}

// request takes a request line. One that is none, as a TLS hello on a plain port, leaves method and path untold.
func (e *entry) request(line []byte) {
	method, rest, ok := cutByte(line, ' ')
	if !ok || !isMethod(method) {
		return
	}
	path, _, _ := cutByte(rest, ' ')
	if len(path) > 0 {
		e.method, e.path = method, path
	}
}

func isMethod(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 20
}

func cutByte(b []byte, sep byte) (before, after []byte, ok bool) {
	for i, c := range b {
		if c == sep {
			return b[:i], b[i+1:], true
		}
	}
	return b, nil, false
}
