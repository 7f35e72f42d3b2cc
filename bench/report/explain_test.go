package report

import (
	"strings"
	"testing"
)

func TestExplained(t *testing.T) {
	const mariadb = `+------+-------------+----------+------+---------------+------+---------+------+-------+-----------------------------+
| id   | select_type | table    | type | possible_keys | key  | key_len | ref  | rows  | Extra                       |
+------+-------------+----------+------+---------------+------+---------+------+-------+-----------------------------+
|    1 | SIMPLE      | comments | ALL  | NULL          | NULL | NULL    | NULL | 99744 | Using where; Using filesort |
|    1 | SIMPLE      | users    | ref  | PRIMARY       | by_id | 4      | x    | 1     |                             |
+------+-------------+----------+------+---------------+------+---------+------+-------+-----------------------------+`
	for text, want := range map[string]string{
		mariadb: "comments: ALL, no key, 99744 rows; Using where; Using filesort\nusers: ref, key by_id, 1 rows",
		"| id | table | Extra |\n| 1 | NULL | Impossible WHERE |": "no table Impossible WHERE",
		"-> Table scan on t (rows=5)":                             "-> Table scan on t (rows=5)",
		"":                                                        "",
	} {
		if got := strings.Join(explained(text), "\n"); got != want {
			t.Errorf("%q\nis told as %q\nwant %q", text, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0 s", 230.4: "230 s", 4.71: "4.7 s", 0.35: "350 ms", 0.0016: "1.6 ms", 0.00023: "230 µs", 9.4e-5: "94 µs", 3e-7: "0.30 µs"} {
		if got := span(seconds); got != want {
			t.Errorf("%g s is told as %q, want %q", seconds, got, want)
		}
	}
}
