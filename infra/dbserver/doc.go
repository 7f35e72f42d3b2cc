// Package dbserver makes private database instances: a MariaDB or MySQL server with its own data directory, port,
// socket and generated password, as the user who asks, beside whatever else runs on the machine.
//
// In goes an engine and a directory; out comes an Instance: files laid down, a command that starts the server, and a
// way to wait until it answers. Running the command, recording it and ending it are left to the caller (infra/host, or
// infratest in tests). A system's own database service, its configuration and its data are never touched.
package dbserver
