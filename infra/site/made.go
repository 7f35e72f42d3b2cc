package site

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"text/template"

	"isukit"
	"isukit/infra/project"
)

// madeConf is the configuration file of a role that isukit makes.
func madeConf(p *project.Project, o project.Role) string {
	name := map[string]string{"nginx": "nginx.conf", "envoy": "envoy.yaml"}[o.Make]
	if name == "" {
		name = "my.cnf"
	}
	return path.Join(project.MadeDir(p.Name, o.Name), name)
}

// madeUnits are the templates of units, and of configurations, by what is made.
var madeUnits, madeConfs = "scripts/made.service.tmpl", map[string]string{
	"nginx": "nginx/made.conf.tmpl", "envoy": "nginx/made.yaml.tmpl", "mariadb": "mysql/made.cnf.tmpl", "mysql": "mysql/made.cnf.tmpl",
}

type endpoint struct{ Host, Port string }

// makes adds the unit and the configuration of a role that isukit makes. Where it is to run no more, they stay as they were written until down.
func (p *planner) makes(h *hostPlan, o project.Role, add func(string, func(string, bool) (string, error))) error {
	made := struct {
		project.Role
		Project, Dir string
		To           []endpoint
	}{o, p.site.Project.Name, project.MadeDir(p.site.Project.Name, o.Name), nil}
	placed := slices.Contains(p.to.Hosts[o.Name], h.node.name)
	if o.Pass != "" && placed {
		addresses, err := p.addresses(h.node, project.Edit{Key: ":", Value: o.Pass})
		if err != nil {
			return err
		}
		for _, a := range addresses {
			name, port, _ := strings.Cut(a, ":")
			made.To = append(made.To, endpoint{name, port})
		}
	}
	for name, from := range map[string]string{unitDirs[0] + o.Units[0]: madeUnits, madeConf(p.site.Project, o): madeConfs[o.Make]} {
		if was := h.rec.file(name); !placed && was != nil {
			add(name, func(string, bool) (string, error) { return string(was.Wrote), nil })
			continue
		}
		source, err := isukit.Assets.ReadFile(from)
		if err != nil {
			return err
		}
		text, err := template.New(from).Parse(string(source))
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := text.Execute(&b, made); err != nil {
			return err
		}
		add(name, func(string, bool) (string, error) { return b.String(), nil })
	}
	return nil
}
