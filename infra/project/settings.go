package project

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// setting is what a file says to an app: the value of a variable, or of a key in a YAML, TOML or JSON file, by its path.
type setting struct{ file, key, value string }

var (
	assignExpr  = regexp.MustCompile(`^([ \t]*)(?:- )?(?:export[ \t]+)?["']?([A-Za-z_][\w.-]*)["']?[ \t]*(?:=>?|:)[ \t]*(.*?),?[ \t\r\n]*$`)
	tableExpr   = regexp.MustCompile(`^[ \t]*\[+([\w.-]+)\]+`)
	wordExprs   = regexp.MustCompile(`"[^"]*"?|'[^']*'?|\S+`)
	hereExpr    = regexp.MustCompile(`(?:^|[/@(\[,' ])((?:localhost|127\.0\.0\.1)(?::(\d+))?)(?:$|[/)\],'? ])`)
	hostKeyExpr = regexp.MustCompile(`(?i)^(.*?)(?:host|hostname|address|addr|server|servers|url|uri|dsn|endpoint)$`)
	loginExpr   = regexp.MustCompile(`(?:^|[/"'])([\w.-]+):hidden@[^/]*/([\w-]+)`)
)

// settings are those of a file.
func settings(file, text string) (list []setting) {
	nested := slices.Contains([]string{".yml", ".yaml", ".json", ".toml", ".ini"}, path.Ext(file))
	var pretty bytes.Buffer
	if path.Ext(file) == ".json" && json.Indent(&pretty, []byte(text), "", " ") == nil {
		text = pretty.String()
	}
	table, in, indents := "", []string(nil), []int(nil)
	for line := range strings.Lines(text) {
		words := []string{line}
		if rest, ok := strings.CutPrefix(line, "Environment="); ok {
			words = wordExprs.FindAllString(rest, -1)
		}
		if m := tableExpr.FindStringSubmatch(line); m != nil && nested {
			table, in, indents = m[1]+".", nil, nil
		}
		for _, word := range words {
			m := assignExpr.FindStringSubmatch(word)
			if len(words) > 1 || word != line {
				m = assignExpr.FindStringSubmatch(strings.Trim(word, `"'`))
			}
			if m == nil {
				continue
			}
			for len(in) > 0 && indents[len(in)-1] >= len(m[1]) {
				in, indents = in[:len(in)-1], indents[:len(in)-1]
			}
			value := m[3]
			if nested && (value == "" || value == "{" || value[0] == '&') {
				in, indents = append(in, m[2]), append(indents, len(m[1]))
				continue
			}
			if end := strings.IndexAny(value[min(1, len(value)):], `"'`); value != "" && strings.IndexByte(`"'`, value[0]) >= 0 && end >= 0 {
				value = value[1 : 1+end]
			} else {
				value, _, _ = strings.Cut(value, " #")
			}
			list = append(list, setting{file, table + strings.Join(append(slices.Clone(in), m[2]), "."), strings.TrimRight(value, ` "';`)})
		}
	}
	return list
}

// access is how a client reaches a role: the setting that has its address, and for a database who logs in.
type access struct {
	setting
	role, literal          string // literal is the address in the value; "" where the file does not name one
	user, schema, password string // password is the key of it
}

var (
	kindExprs = map[string]*regexp.Regexp{
		"db": regexp.MustCompile(`(?i)mysql|maria|database|(^|[^a-z])db`), "memcached": regexp.MustCompile(`(?i)memcache`), "redis": regexp.MustCompile(`(?i)redis|valkey`),
	}
	kindPorts = map[string]string{"db": "3306", "memcached": "11211", "redis": "6379"}
)

// accesses are those that a unit's files name. kinds are roles by what serves there: db, memcached or redis; of is the one on a port.
func (f *Found) accesses(unit string, kinds map[string]string, of func(port string) string) (list []access) {
	for _, env := range f.envs {
		if f.envOf(unit, env[0]) == "" {
			continue
		}
		all := settings(env[0], env[1])
		for _, s := range all {
			a, prefix := access{setting: s}, s.key
			if m := hostKeyExpr.FindStringSubmatch(s.key); m != nil {
				prefix = m[1]
			} else if name, ok := strings.CutSuffix(s.key, "_USER"); ok { // its file leaves the address to the program
				prefix = name + "_"
			}
			m, port := hereExpr.FindStringSubmatch(s.value), ""
			if m == nil && prefix == s.key || m == nil && !strings.HasSuffix(s.key, "_USER") {
				continue
			}
			if m != nil {
				a.literal, port = m[1], m[2]
			}
			if login := loginExpr.FindStringSubmatch(s.value); login != nil {
				a.user, a.schema, a.password = login[1], login[2], s.key
			}
			for _, o := range all {
				rest, ok := strings.CutPrefix(o.key, prefix)
				switch rest = strings.ToLower(rest); {
				case !ok:
				case rest == "port" && port == "":
					port = o.value
				case rest == "user" || rest == "username":
					a.user = o.value
				case slices.Contains([]string{"dbname", "database", "name", "schema", "db"}, rest):
					a.schema = o.value
				case strings.HasPrefix(rest, "pass"):
					a.password = o.key
				}
			}
			a.role = of(port)
			for kind, expr := range kindExprs {
				if a.role == "" && kinds[kind] != "" && (port == "" || port == kindPorts[kind]) && expr.MatchString(path.Base(s.file)+" "+s.key+" "+s.value) {
					a.role = kinds[kind]
				}
			}
			named := slices.ContainsFunc(list, func(b access) bool { return b.role == a.role && (a.literal == "" || b.setting == s) })
			if a.role != "" && !named && (m != nil || a.user != "" && a.schema != "" && a.password != "") {
				list = append(list, a)
			}
		}
	}
	return list
}

// edits are what a role's files need to follow the roles that they name: the lines env and swap, and a comment where a file names no address.
func edits(own string, list []access) (lines []string) {
	byKind := map[string]map[string][]string{"env": {}, "swap": {}}
	var files, comments []string
	for _, a := range list {
		kind, text := "swap", strconv.Quote(a.literal)+": "+a.role
		switch {
		case a.role == own:
			continue
		case a.literal == "":
			comments = append(comments, "    # "+a.file+" does not name the address of "+a.role+": add it there, then env: {"+a.file+": {"+strings.TrimSuffix(a.key, "USER")+"HOST: \"{"+a.role+"}\"}}")
			continue
		case a.literal == a.value:
			_, port, _ := strings.Cut(a.literal, ":")
			kind, text = "env", quoted(a.key)+`: "{`+a.role+`}`+strings.TrimSuffix(":"+port, ":")+`"`
		}
		if files = append(files, a.file); !slices.Contains(byKind[kind][a.file], text) {
			byKind[kind][a.file] = append(byKind[kind][a.file], text)
		}
	}
	for _, kind := range []string{"env", "swap"} {
		var all []string
		for i, file := range files {
			if texts := byKind[kind][file]; len(texts) > 0 && slices.Index(files, file) == i {
				all = append(all, file+": {"+strings.Join(texts, ", ")+"}")
			}
		}
		if len(all) > 0 {
			lines = append(lines, "    "+kind+": {"+strings.Join(all, ", ")+"}")
		}
	}
	return append(lines, comments...)
}

func united(list []string, name string) []string {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}
