package query_test

import (
	"testing"

	"isukit/infra/digest/query"
)

// TestOneLine holds that what is explained is one statement and no command of the client.
func TestOneLine(t *testing.T) {
	for statement, want := range map[string]string{
		"SELECT *\nFROM t -- a note\nWHERE a = 'x;y' /* c */ AND b = 'it''s';": "SELECT * FROM t  WHERE a = 'x;y'   AND b = 'it''s'",
		"update t set a = 'back\\\\slash' where id = 1":                        "update t set a = 'back\\\\slash' where id = 1",
		"SELECT 1; DROP TABLE t":                                               "",
		"SELECT 1 \\! touch /tmp/x":                                            "",
		"SELECT 1 \\. /etc/passwd":                                             "",
		"SELECT 'never closed":                                                 "",
		`SELECT 'never closed \'`:                                              "",
		"SELECT x'4D":                                                          "",
		"SELECT x'4D', _utf8'a'":                                               "SELECT x'4D', _utf8'a'",
		"SELECT 'two\nlines'":                                                  "",
		"DROP TABLE t":                                                         "",
		"SET GLOBAL x = 1":                                                     "",
		"CALL p()":                                                             "",
		"":                                                                     "",
		"delimiter //\nSELECT 1":                                               "",
		"SELECT 1 /*! ; DROP TABLE t */":                                       "",
		"# administrator command: Ping;":                                       "",
		"WITH a AS (SELECT 1) SELECT * FROM a":                                 "WITH a AS (SELECT 1) SELECT * FROM a",
	} {
		got, ok := query.OneLine(statement)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q gives %q, %v; want %q", statement, got, ok, want)
		}
	}
}
