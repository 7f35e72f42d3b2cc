package project

import (
	"slices"
	"strings"
)

// Commands are everything that the project lets isukit run, edit or query, and where, one per line, for those who must trust it.
func (p *Project) Commands() (list []string) {
	add := func(what, where, command string) {
		if command != "" {
			list = append(list, strings.TrimSpace(what+" "+where)+": "+strings.TrimSpace(command))
		}
	}
	for _, h := range p.Hosts {
		add("host", h.Name, h.Address)
	}
	for _, part := range []struct {
		name  string
		steps []Step
	}{{"build", p.Build}, {"deploy", p.Deploy}, {"restart", p.Restart}, {"final.off", p.Final.Off}, {"final.check", p.Final.Check}} {
		for _, step := range part.steps {
			where := strings.Join(append([]string{step.Host}, step.Hosts...), " ")
			add(part.name, where, step.Run)
			if step.Copy != "" {
				add(part.name, where, "copy "+step.Copy+" to "+step.To)
			}
		}
	}
	for _, l := range slices.Concat(p.Logs.Access, p.Logs.Slow) {
		add("log", l.Host, l.Reopen)
	}
	for _, d := range p.Databases {
		add("database", d.Host, d.Client)
	}
	for _, f := range p.Facts {
		add("fact", f.Host, f.Run)
	}
	for _, o := range p.Roles {
		add("role", o.Name, strings.TrimSpace(o.Make+" "+strings.Join(o.Units, " ")))
		add("role", o.Name, o.Build)
		add("role", o.Name, strings.Join(o.Tune, " "))
		for _, e := range slices.Concat(o.Env, o.Swap) {
			add("role", o.Name, "edit "+e.File)
		}
		if o.MySQL != nil {
			add("role", o.Name, o.MySQL.Client)
		}
	}
	for _, u := range p.Final.Services {
		add("final.services", u.Host, strings.Join(u.Units, " "))
	}
	for _, prof := range p.Profiles.Pprof {
		add("profile", prof.Host, prof.URL)
	}
	add("benchmark", p.Benchmark.Dir, p.Benchmark.Command)
	add("benchmark.initialize", "", p.Benchmark.Initialize)
	return list
}
