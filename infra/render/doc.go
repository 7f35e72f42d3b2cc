// Package render turns a topology into the configuration files of its hosts. It is pure: values in, values out.
//
// In go the topology, the place of every instance (directory, address, ports) and the templates of nginx/ and mysql/.
// Out come, for one host, the files with their modes. Nothing is written here, and no secret passes through: files that
// hold one are named in what is rendered and made by infra.
//
// Of each instance, in its directory:
//
//	proxy  nginx.conf and mime.types, or envoy.yaml
//	db     my.cnf
//	web    app.yaml; the files that it names (db-1.dsn, session.key, worker.token) are not rendered
//	api    the same
//
// app.yaml has these keys:
//
//	role               web, api or all
//	listen             address:port to serve on
//	debug_listen       address:port of pprof
//	databases          a list: name, and dsn_file (mode 0600: one go-sql-driver DSN)
//	session_key_file   signs cookies; the same key for every instance
//	worker_token_file  what workers must present to the api role
//	api_url            where workers reach the api role, without a path
//	dataset            scale, seed
//	app_id             a small number, unique among the instances; part of the ids that the app makes
//	write_mode         how several databases are written; absent: the app's default
package render
