package site

import (
	"testing"

	"isukit/infra/engine"
	"isukit/infra/project"
)

// TestLetIn holds the statements that make accounts to what each server takes: MySQL 8 and 9 refuse a GRANT with a password, and MariaDB
// names plugins in its own way.
func TestLetIn(t *testing.T) {
	mariadb := engine.Product{Name: "mariadb", Version: engine.Version{10, 11, 14}}
	mysql := func(major, minor int) engine.Product {
		return engine.Product{Name: "mysql", Version: engine.Version{major, minor, 1}}
	}
	const grant = "GRANT ALL PRIVILEGES ON `isu\\_db`.* TO 'isu'@'10.0.0.1';\n"
	for _, c := range []struct {
		product engine.Product
		plugin  string
		existed bool
		want    string
	}{
		{mysql(5, 7), "", false, `CREATE USER IF NOT EXISTS 'isu'@'10.0.0.1' IDENTIFIED BY 'it''s \\';` + "\n" + grant},
		{mysql(5, 7), "mysql_native_password", false, `CREATE USER IF NOT EXISTS 'isu'@'10.0.0.1' IDENTIFIED WITH mysql_native_password BY 'it''s \\';` + "\n" + grant},
		{mysql(8, 0), "mysql_native_password", false, `CREATE USER IF NOT EXISTS 'isu'@'10.0.0.1' IDENTIFIED WITH mysql_native_password BY 'it''s \\';` + "\n" + grant},
		{mysql(9, 7), "caching_sha2_password", false, `CREATE USER IF NOT EXISTS 'isu'@'10.0.0.1' IDENTIFIED WITH caching_sha2_password BY 'it''s \\';` + "\n" + grant},
		{mysql(9, 7), "", true, grant},
		{mariadb, "", false, `CREATE USER IF NOT EXISTS 'isu'@'10.0.0.1' IDENTIFIED BY 'it''s \\';` + "\n" + grant},
		{mariadb, "mysql_native_password", false, `CREATE USER IF NOT EXISTS 'isu'@'10.0.0.1' IDENTIFIED VIA mysql_native_password USING PASSWORD('it''s \\');` + "\n" + grant},
		{mariadb, "ed25519", true, grant},
	} {
		got := letIn(c.product, project.MySQL{Schema: "isu_db", Plugin: c.plugin}, userWas{User: "isu", Host: "10.0.0.1", Existed: c.existed}, `it's \`)
		if got != c.want {
			t.Errorf("%s, plugin %q, existed %v:\n%s\nwant\n%s", c.product, c.plugin, c.existed, got, c.want)
		}
	}
}
