// Package dbserver makes private database instances: a MariaDB or MySQL server with its own data directory, port, socket and generated
// password, as the calling user, next to other servers of the machine.
//
// From an engine and a directory it makes an Instance: its files, the command that starts the server, and a wait until it responds. The
// caller runs, records and ends the command (infra/host, or infratest in tests). A system's own database service, its configuration and its
// data are never touched.
package dbserver
