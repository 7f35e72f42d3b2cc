package round

import (
	"context"
	"maps"
	"slices"
	"strings"

	"isukit/bench/result"
	"isukit/infra/observe"
)

// readSettings reads what is in effect on every machine and in every database.
func (r *gathering) readSettings(ctx context.Context) {
	for _, m := range r.tuned.sub.Machines() {
		name := m.Names[0]
		settings, err := observe.Settings(ctx, m.At)
		if err != nil {
			r.warn("host %s: %v", name, err)
		}
		for _, s := range settings {
			if r.own {
				if s.Source = r.ownSource(s.Source); s.Source == "" {
					continue
				}
			}
			r.settings = append(r.settings, result.Settings{Host: name, Source: s.Source, Values: r.lasting(s.Values)})
			if s.Source == "versions" && !r.own {
				for _, key := range slices.Sorted(maps.Keys(s.Values)) {
					r.Record.Facts = append(r.Record.Facts, result.Fact{Key: name + " " + key, Value: s.Values[key]})
				}
			}
		}
	}
	for _, d := range r.databases {
		values, err := d.Variables(ctx)
		if err != nil {
			r.warn("%v", err)
			continue
		}
		r.settings = append(r.settings, result.Settings{Host: d.Host, Source: r.ofDatabase("variables", d), Values: r.lasting(values)})
		tables, err := d.Tables(ctx)
		if err != nil {
			r.warn("%v", err)
		}
		if len(tables) > 0 {
			r.settings = append(r.settings, result.Settings{Host: d.Host, Source: r.ofDatabase("tables", d), Values: tables})
		}
		if !r.own {
			r.Record.Facts = append(r.Record.Facts, result.Fact{Key: d.Host + " database", Value: strings.TrimSpace(values["version"] + " " + values["version_comment"])})
		}
	}
}

// ownSource names a source of settings after the service of isukit's that it is of; "" is one of somebody else's.
func (r *gathering) ownSource(source string) string {
	switch kind, rest, _ := strings.Cut(source, " "); {
	case kind == "unit" || kind == "limits":
		return ""
	case kind != "nginx":
		return source
	default:
		for _, v := range r.tuned.sub.Services {
			if v.Conf != "" && strings.Contains(rest, v.Conf) {
				return "nginx " + v.Name
			}
		}
	}
	return ""
}

// lasting are settings with names in the place of directories and addresses that isukit has chosen for one run: two rounds are then told
// apart by what was set.
func (r *gathering) lasting(values map[string]string) map[string]string {
	if r.places == nil {
		return values
	}
	named := strings.NewReplacer(r.places...)
	out := map[string]string{}
	for key, value := range values {
		if n := slices.Index(r.places, ":"+value); n >= 0 { // a port by itself
			value = r.places[n+1]
		}
		out[named.Replace(key)] = named.Replace(value)
	}
	return out
}
