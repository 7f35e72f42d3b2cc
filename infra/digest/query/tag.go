package query

import (
	"bytes"
	"net/url"
	"regexp"
	"strings"
)

// tagKeys are names under which apps say in a comment where a statement comes from, the most telling first.
var tagKeys = []string{"route", "endpoint", "path", "uri", "handler", "action", "controller"}

// tagged finds "route='/posts/:id'" (sqlcommenter), "route:/posts/:id" and "route=GET /posts/:id".
var tagged = regexp.MustCompile(`(?i)\b([a-z_]+)\s*[=:]\s*('(?:[^'\\]|\\.)*'|[^,']+)`)

// requestLine finds a comment that is nothing but a method and a path, or a path.
var requestLine = regexp.MustCompile(`^(?:(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) +)?/\S*$`)

const maxTag = 120

func routeTag(statement []byte) string {
	if !bytes.Contains(statement, []byte("/*")) && !bytes.Contains(statement, []byte("--")) && !bytes.ContainsRune(statement, '#') {
		return ""
	}
	var before byte
	for b := statement; len(b) > 0; {
		kind, n := token(b, before)
		if kind == comment {
			if tag := tagOf(string(b[:n])); tag != "" {
				return tag
			}
		}
		before = b[n-1]
		b = b[n:]
	}
	return ""
}

func tagOf(comment string) string {
	text := comment
	for _, opening := range []string{"/*", "--", "#"} {
		text = strings.TrimPrefix(text, opening)
	}
	text = strings.TrimSpace(strings.TrimSuffix(text, "*/"))
	if requestLine.MatchString(text) && len(text) <= maxTag {
		return text
	}
	found := map[string]string{}
	for _, m := range tagged.FindAllStringSubmatch(text, -1) {
		value := strings.Trim(strings.TrimSpace(m[2]), "'")
		if plain, err := url.QueryUnescape(value); err == nil && strings.Contains(value, "%") {
			value = plain
		}
		found[strings.ToLower(m[1])] = value
	}
	for _, key := range tagKeys {
		value := found[key]
		if key == "action" && value != "" && found["controller"] != "" {
			value = found["controller"] + "#" + value
		}
		if value != "" && len(value) <= maxTag {
			return value
		}
	}
	return ""
}
