package exchange

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"isukit/cmd/internal/ui"
	"isukit/input"
)

// Jar keeps cookies in a file, one "host<TAB>name<TAB>value<TAB>path" per line, with a further "secure" for cookies that are sent over
// https only. It is made for one person and a few hosts: it ignores expiry and domains, and drops a cookie that is set empty.
type Jar struct {
	file  string
	lines []jarCookie
}

const maxJarBytes = 1 << 20

type jarCookie struct {
	host, name, value, path string
	secure                  bool
}

func OpenJar(file string) (*Jar, error) {
	jar := &Jar{file: file}
	if file == "" {
		return jar, nil
	}
	data, err := input.Read(file, maxJarBytes)
	if errors.Is(err, os.ErrNotExist) {
		return jar, nil
	}
	if err != nil {
		return nil, ui.UsageError(err, "")
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 && (len(f) != 5 || f[4] != "secure") {
			return nil, ui.UsageError(fmt.Errorf("%s is not a cookie jar of isukit", file), "name another file with --jar")
		}
		jar.lines = append(jar.lines, jarCookie{f[0], f[1], f[2], f[3], len(f) == 5})
	}
	return jar, nil
}

// Cookies returns what is to be sent to u.
func (j *Jar) Cookies(u *url.URL) []*http.Cookie {
	var out []*http.Cookie
	for _, c := range j.lines {
		if c.host == u.Host && (!c.secure || u.Scheme == "https") && below(u.Path, c.path) {
			out = append(out, &http.Cookie{Name: c.name, Value: c.value})
		}
	}
	return out
}

// below: a cookie of a path is sent with a request's path (RFC 6265, 5.1.4).
func below(request, path string) bool {
	rest, ok := strings.CutPrefix(request, path)
	return ok && (rest == "" || strings.HasSuffix(path, "/") || rest[0] == '/')
}

// Keep stores what the server at u set.
func (j *Jar) Keep(u *url.URL, set []*http.Cookie) error {
	if j.file == "" || len(set) == 0 {
		return nil
	}
	for _, c := range set {
		path := c.Path
		if path == "" {
			path = "/"
		}
		kept := j.lines[:0]
		for _, old := range j.lines {
			if old.host != u.Host || old.name != c.Name {
				kept = append(kept, old)
			}
		}
		if j.lines = kept; c.Value != "" && c.MaxAge >= 0 {
			j.lines = append(j.lines, jarCookie{u.Host, c.Name, c.Value, path, c.Secure})
		}
	}
	var b strings.Builder
	for _, c := range j.lines {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s", c.host, c.name, c.value, c.path)
		if c.secure {
			b.WriteString("\tsecure")
		}
		b.WriteString("\n")
	}
	if err := os.WriteFile(j.file, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("save cookies: %w", err)
	}
	return nil
}
