package project

import "path"

// Makes are the servers that isukit can make for a role.
var Makes = []string{"nginx", "envoy", "mariadb", "mysql"}

// MadeDir is where the files of a made role are on its hosts; without a role, those of all roles of a project.
func MadeDir(project, role string) string { return path.Join("/var/lib/isukit-made", project, role) }

// made fills in what a role has that isukit makes.
func (o *Role) made(project string) {
	o.Units = []string{"made-" + project + "-" + o.Name + ".service"}
	if o.MySQL != nil {
		dir := MadeDir(project, o.Name)
		o.MySQL.Cnf = path.Join(dir, "conf.d", "zz-isukit.cnf")
		o.MySQL.Client = o.Make + " --no-defaults -uroot --socket=" + path.Join(dir, "data", "mysql.sock")
	}
}
