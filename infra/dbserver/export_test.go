package dbserver

// Bootstrapped is an installed MariaDB that is initialised like one in a tree, from the SQL in scripts.
func (in Install) Bootstrapped(scripts string) Install {
	in.initdb, in.scripts = "", scripts
	return in
}
