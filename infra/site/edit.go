package site

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"isukit/infra/engine"
	"isukit/infra/engine/envoy"
	"isukit/infra/engine/nginx"
	"isukit/infra/plan"
)

// assigned finds a variable's value in a file of a shell, of systemd's environment, or of options, or a key's in a YAML, TOML or JSON file,
// and its opening quote. A key that several sections of the latter have is named with its section: database.host.
func assigned(text, key string) (from, to int, quote byte, err error) {
	name := regexp.QuoteMeta(key)
	variable := `(?m)^([^#\n]*?[\s"';]|[ \t]*Environment=|)` + name + "="
	if strings.HasPrefix(key, "-") {
		variable = `(?m)^([^#\n]*?[\s"';]|)` + name + `[ \t]+`
	}
	found, stops := regexp.MustCompile(variable).FindAllStringIndex(text, -1), " \t\r;\"'"
	if len(found) == 0 && !strings.HasPrefix(key, "-") {
		begin, end, last := section(text, key)
		name, stops = regexp.QuoteMeta(last), stops+",}"
		for _, separator := range []string{`["']?[ \t]*(=>?|:)[ \t]*`, `[ \t]+`} {
			expr := regexp.MustCompile(`(?m)(^[ \t]*(- )?|[{,][ \t]*)["']?` + name + separator)
			for _, m := range expr.FindAllStringIndex(text[begin:end], -1) {
				found = append(found, []int{begin + m[0], begin + m[1]})
			}
			if len(found) > 0 {
				break
			}
		}
	}
	if len(found) == 0 {
		return 0, 0, 0, fmt.Errorf("it does not assign %s", key)
	}
	if len(found) > 1 {
		return 0, 0, 0, fmt.Errorf("it assigns %s %d times, first on lines %d and %d", key, len(found), lineOf(text, found[0][1]), lineOf(text, found[1][1]))
	}
	from = found[0][1]
	to, quote = valueEnd(text, from, stops)
	return from, to, quote, nil
}

// section is the part of a text that the sections in a key name, and the last part of the key; all of the text where it has no such section.
func section(text, key string) (begin, end int, last string) {
	end = len(text)
	dot := strings.LastIndexByte(key, '.')
	if dot < 0 {
		return begin, end, key
	}
	if m := regexp.MustCompile(`(?m)^[ \t]*\[+` + regexp.QuoteMeta(key[:dot]) + `\]+`).FindStringIndex(text); m != nil {
		if next := regexp.MustCompile(`(?m)^[ \t]*\[`).FindStringIndex(text[m[1]:]); next != nil {
			end = m[1] + next[0]
		}
		return m[1], end, key[dot+1:]
	}
	for _, name := range strings.Split(key[:dot], ".") {
		m := regexp.MustCompile(`(?m)(?:^([ \t]*)|[{,]\s*)["']?` + regexp.QuoteMeta(name) + `["']?[ \t]*:\s*(?:(\{)|(?:&\S+)?[ \t]*(?:#.*)?$)`).FindStringSubmatchIndex(text[begin:end])
		if m == nil {
			return 0, len(text), key
		}
		indent := max(0, m[3]-m[2])
		begin += m[1]
		if m[4] < 0 { // it ends with the lines that are further in
			if next := regexp.MustCompile(fmt.Sprintf(`(?m)^[ \t]{0,%d}[^ \t\n#]`, indent)).FindStringIndex(text[begin:end]); next != nil {
				end = begin + next[0]
			}
			continue
		}
		depth := 1
		for i := begin; i < end && depth > 0; i++ {
			if depth += strings.Count(text[i:i+1], "{") - strings.Count(text[i:i+1], "}"); depth == 0 {
				end = i
			}
		}
	}
	return begin, end, key[dot+1:]
}

// setEnv gives a variable another value; every other byte stays. The variable has to be assigned there, once.
func setEnv(text, key, value string) (string, error) {
	from, to, quote, err := assigned(text, key)
	if err != nil {
		return "", err
	}
	if was := unquoted(text[from:to]); was == value || loopback(was) == loopback(value) {
		return text, nil // one name of the loopback is as good as another, and the socket better
	}
	if quote == 0 && strings.ContainsAny(value, " ;&|<>()#*?~") {
		quote = '"'
	}
	if quote != 0 {
		value = string(quote) + value + string(quote)
	}
	return text[:from] + value + text[to:], nil
}

func lineOf(text string, at int) int { return 1 + strings.Count(text[:at], "\n") }

// valueEnd is where an assigned value ends, at one of stops or with its line, and the quote that it begins with.
func valueEnd(text string, from int, stops string) (end int, quote byte) {
	open := byte(0)
	for i := from; i < len(text); i++ {
		switch c := text[i]; {
		case open == 0 && (c == '"' || c == '\'') && (i == from || quote != 0):
			if open = c; i == from {
				quote = c
			}
		case c == '\\' && open != '\'':
			i++
		case open != 0 && c == open:
			open = 0
		case c == '\n' || open == 0 && strings.IndexByte(stops, c) >= 0: // a quote that the value does not begin with is around it
			return i, quote
		}
	}
	return len(text), quote
}

// unquoted is a value as a shell reads it.
func unquoted(text string) string {
	if len(text) < 2 || text[0] != text[len(text)-1] {
		return text
	}
	switch text[0] {
	case '\'':
		return text[1 : len(text)-1]
	case '"':
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\$`, `$`, "\\`", "`").Replace(text[1 : len(text)-1])
	}
	return text
}

// loopback gives the names of a host's own address one spelling.
func loopback(text string) string { return strings.ReplaceAll(text, "localhost", "127.0.0.1") }

// without takes a unit out of what another one requires. Its order stays: it does nothing where the unit is not started.
func without(text, unit string) (string, error) {
	found := false
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		name, value, ok := strings.Cut(line, "=")
		if !ok || !slices.Contains([]string{"Requires", "Requisite", "BindsTo", "PartOf", "Wants", "Upholds"}, strings.TrimSpace(name)) {
			continue
		}
		words := strings.Fields(value)
		left := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == unit })
		if len(left) == len(words) {
			continue
		}
		found = true
		lines[i] = ""
		if len(left) > 0 {
			lines[i] = name + "=" + strings.Join(left, " ") + "\n"
		}
	}
	if !found {
		return "", fmt.Errorf("it does not require %s", unit)
	}
	return strings.Join(lines, ""), nil
}

// mention are the places of a literal that are not part of a longer word.
func mention(text, literal string) (at []int) {
	word := func(i int) bool {
		return i >= 0 && i < len(text) && regexp.MustCompile(`[A-Za-z0-9_-]`).MatchString(text[i:i+1])
	}
	for from := 0; ; {
		i := strings.Index(text[from:], literal)
		if i < 0 {
			return at
		}
		i += from
		from = i + len(literal)
		if !word(i-1) && !word(from) && !(i > 0 && text[i-1] == '.') {
			at = append(at, i)
		}
	}
}

// swap replaces a literal by addresses of a role: several as an upstream of nginx, "cluster NAME" as endpoints of Envoy.
func swap(file, text, literal, role string, addresses []string) (string, error) {
	if cluster, ok := strings.CutPrefix(literal, "cluster "); ok {
		return endpoints(text, cluster, addresses)
	}
	at := mention(text, literal)
	switch {
	case len(at) == 0:
		return "", fmt.Errorf("%q does not stand in it", literal)
	case len(addresses) == 1:
		for _, i := range slices.Backward(at) {
			text = text[:i] + addresses[0] + text[i+len(literal):]
		}
		return text, nil
	}
	return balance(file, text, literal, "isukit-"+role, addresses)
}

// balance makes nginx pass to several addresses where it passed to one.
func balance(file, text, literal, name string, addresses []string) (string, error) {
	tree, err := nginx.ParseFile(file, text)
	if err != nil {
		return "", fmt.Errorf("%s runs on %d hosts, which takes a configuration of nginx: %w", strings.TrimPrefix(name, "isukit-"), len(addresses), err)
	}
	type change struct {
		from, to int
		text     string
	}
	var changes []change
	passes, top := false, 0
	for _, d := range tree {
		if d.Name == "http" && d.Block {
			top = d.Body
		}
	}
	nginx.Each(tree, func(d nginx.Directive) {
		if d.Block {
			return
		}
		own := text[d.Start:d.End]
		at := mention(own, literal)
		if len(at) == 0 {
			return
		}
		if d.Name != "server" {
			passes = true
			changes = append(changes, change{d.Start + at[0], d.Start + at[0] + len(literal), name})
			return
		}
		var all []string
		for _, a := range addresses {
			all = append(all, own[:at[0]]+a+own[at[0]+len(literal):])
		}
		indent := text[strings.LastIndexByte(text[:d.Start], '\n')+1 : d.Start]
		if strings.TrimSpace(indent) != "" {
			indent = ""
		}
		changes = append(changes, change{d.Start, d.End, strings.Join(all, "\n"+indent)})
	})
	if len(changes) == 0 {
		return "", fmt.Errorf("%q stands in no directive", literal)
	}
	slices.SortFunc(changes, func(a, b change) int { return b.from - a.from })
	for _, c := range changes {
		text = text[:c.from] + c.text + text[c.to:]
	}
	if passes {
		block := "upstream " + name + " {\n"
		for _, a := range addresses {
			block += "\tserver " + a + ";\n"
		}
		if block += "}\n"; top > 0 {
			block = "\n" + block
		}
		text = text[:top] + block + text[top:]
	}
	return text, nil
}

var (
	addressExpr = regexp.MustCompile(`(\baddress:[ \t]+)[^\s,{}]+`)
	portExpr    = regexp.MustCompile(`(\bport_value:[ \t]+)\d+`)
)

// endpoints gives a cluster of Envoy one endpoint for each address, written as its first one is.
func endpoints(text, cluster string, addresses []string) (string, error) {
	entries, err := envoy.Parse(text)
	if err != nil {
		return "", err
	}
	key := strings.Join([]string{"static_resources", "clusters", cluster, "load_assignment", "endpoints", "1", "lb_endpoints"}, envoy.Separator)
	_, found := envoy.Find(entries, key)
	if found == nil {
		return "", fmt.Errorf("it has no cluster %s with load_assignment and lb_endpoints", cluster)
	}
	lines := strings.SplitAfter(found.Value(text), "\n")
	dash, first := "", ""
	for _, l := range lines {
		trimmed := strings.TrimLeft(l, " ")
		indent := l[:len(l)-len(trimmed)]
		if strings.HasPrefix(trimmed, "- ") && (dash == "" || indent == dash) {
			if dash = indent; first != "" {
				break
			}
		}
		if dash != "" || first != "" || strings.HasPrefix(trimmed, "- ") {
			first += l
		}
	}
	if !addressExpr.MatchString(first) || !portExpr.MatchString(first) {
		return "", fmt.Errorf("the endpoints of cluster %s are not written as address and port_value on lines of their own", cluster)
	}
	var all []string
	for _, a := range addresses {
		at, port, _ := strings.Cut(a, ":")
		one := addressExpr.ReplaceAllString(strings.TrimRight(first, "\n"), "${1}"+at)
		all = append(all, portExpr.ReplaceAllString(one, "${1}"+port))
	}
	value := "\n" + strings.Join(all, "\n")
	if loopback(value) == loopback(found.Value(text)) {
		return text, nil
	}
	return envoy.Edit(text, key, engine.Value{Text: value})
}

// takeBack reverts in a text what made wrote of base: its lines become base's again. It fails if they are not as written.
func takeBack(base, wrote, text string) (string, bool) {
	switch text {
	case wrote:
		return base, true
	case base:
		return base, true
	}
	a, b := strings.SplitAfter(base, "\n"), strings.SplitAfter(wrote, "\n")
	for _, h := range plan.Hunks(a, b) {
		// A line around a hunk shows its place.
		before, after := "", ""
		if h.B0 > 0 {
			before = b[h.B0-1]
		}
		if h.B1 < len(b) {
			after = b[h.B1]
		}
		ours := before + strings.Join(b[h.B0:h.B1], "") + after
		if strings.Count(text, ours) != 1 {
			return "", false
		}
		text = strings.Replace(text, ours, before+strings.Join(a[h.A0:h.A1], "")+after, 1)
	}
	return text, true
}
