package load

import (
	"net/http"
	"strings"
	"time"
)

// Limits of a cookie jar; a browser has about the same.
const (
	maxCookies     = 50
	maxCookieBytes = 4096
)

// cookieJar keeps cookies by host, as browsers do: the port does not tell them apart.
type cookieJar struct {
	cookies []cookie
}

type cookie struct {
	host, name, value, path string
	secure                  bool
	expires                 time.Time // zero: with the session
}

// update takes the cookies that an answer sets.
func (j *cookieJar) update(o *Origin, r *Response) {
	for i := range r.fields {
		f := &r.fields[i]
		if f.nameEnd-f.name == len("Set-Cookie") && equalFold(r.buf[f.name:f.nameEnd], "Set-Cookie") {
			j.set(o, string(r.buf[f.value:f.valueEnd]))
		}
	}
}

// set reads one Set-Cookie value. Cookies that a browser would not take are ignored.
func (j *cookieJar) set(o *Origin, line string) {
	hc, err := http.ParseSetCookie(line)
	if err != nil || len(line) > maxCookieBytes {
		return
	}
	if hc.Secure && !o.https && !o.loopback {
		return
	}
	if d := strings.TrimPrefix(strings.ToLower(hc.Domain), "."); d != "" && d != o.name && !strings.HasSuffix(o.name, "."+d) {
		return
	}
	c := cookie{host: o.name, name: hc.Name, value: hc.Value, path: hc.Path, secure: hc.Secure && !o.loopback, expires: hc.Expires}
	if c.path == "" || c.path[0] != '/' {
		c.path = "/"
	}
	if hc.MaxAge > 0 {
		c.expires = time.Now().Add(time.Duration(hc.MaxAge) * time.Second)
	}
	gone := hc.MaxAge < 0 || !c.expires.IsZero() && !c.expires.After(time.Now())
	j.replace(c, gone)
}

// replace puts a cookie in the place of the one that has its host, name and path, or only removes that one.
func (j *cookieJar) replace(c cookie, gone bool) {
	for i := range j.cookies {
		k := &j.cookies[i]
		if k.host == c.host && k.name == c.name && k.path == c.path {
			if gone {
				j.cookies = append(j.cookies[:i], j.cookies[i+1:]...)
			} else {
				*k = c
			}
			return
		}
	}
	if !gone && len(j.cookies) < maxCookies {
		j.cookies = append(j.cookies, c)
	}
}

func (j *cookieJar) put(o *Origin, name, value string) {
	j.replace(cookie{host: o.name, name: name, value: value, path: "/"}, value == "")
}

func (j *cookieJar) value(name string) string {
	for i := range j.cookies {
		if j.cookies[i].name == name {
			return j.cookies[i].value
		}
	}
	return ""
}

// append writes the Cookie field for a request, if there is anything to send.
func (j *cookieJar) append(b []byte, o *Origin, target string) []byte {
	sep := "Cookie: "
	for i := range j.cookies {
		c := &j.cookies[i]
		if c.host != o.name || c.secure && !o.https || !pathMatches(c.path, target) {
			continue
		}
		if !c.expires.IsZero() && c.expires.Before(time.Now()) {
			continue
		}
		b = append(b, sep...)
		b = append(b, c.name...)
		b = append(b, '=')
		b = append(b, c.value...)
		sep = "; "
	}
	if sep == "; " {
		b = append(b, "\r\n"...)
	}
	return b
}

// pathMatches is RFC 6265, 5.1.4.
func pathMatches(path, target string) bool {
	if path == "/" {
		return true
	}
	if !strings.HasPrefix(target, path) {
		return false
	}
	rest := target[len(path):]
	return rest == "" || path[len(path)-1] == '/' || rest[0] == '/' || rest[0] == '?'
}
