package fanouttest

import (
	"errors"
	"testing"

	"forge.example/account/isukit/app/fanout"
	"forge.example/account/isukit/app/fanout/lint"
	"isukit/infra/infratest"
)

var shapeTables = []string{
	"CREATE TABLE `teams` (`id` INT NOT NULL AUTO_INCREMENT, `name` VARCHAR(191) NOT NULL, `leader_id` VARCHAR(191) NULL, `status` VARCHAR(20) NOT NULL DEFAULT 'open', `seen` DATETIME(6) NULL, PRIMARY KEY (`id`), UNIQUE KEY `leader` (`leader_id`), KEY `status` (`status`)) DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE `members` (`team_id` INT NOT NULL, `user_id` VARCHAR(191) NOT NULL, `role` INT NOT NULL DEFAULT 0, PRIMARY KEY (`team_id`, `user_id`)) DEFAULT CHARSET=utf8mb4",
	"CREATE TABLE `logs` (`at` DATETIME NOT NULL, `text` VARCHAR(191) NULL) DEFAULT CHARSET=utf8mb4",
}

// appShapes are statements as apps have them, and whether they are taken.
var appShapes = []struct {
	text  string
	args  []any
	taken bool
}{
	{"UPDATE `teams` SET `status` = ? WHERE `id` = ? LIMIT 1", []any{"a", 1}, true},
	{"UPDATE teams SET status = ? WHERE teams.id = ? LIMIT 1", []any{"b", 1}, true},
	{"UPDATE teams t SET t.status = ? WHERE (t.id = ?) LIMIT 1", []any{"c", 1}, true},
	{"UPDATE `teams` SET `seen` = NOW(6) WHERE `id` = ? AND `status` = ? LIMIT 1", []any{1, "c"}, true},
	{"UPDATE teams SET status = ? WHERE leader_id = ? LIMIT 1", []any{"d", "u1"}, true},
	{"UPDATE teams SET status = ? WHERE leader_id = ? LIMIT 1", []any{"d", 1}, true},
	{"UPDATE teams SET leader_id = ? WHERE id = ?", []any{"u9", 1}, true},
	{"UPDATE teams SET leader_id = ? WHERE id = ? LIMIT 1", []any{"u1", "1"}, true},
	{"UPDATE teams SET leader_id = NULL, status = 'gone' WHERE id = 2 LIMIT 1", nil, true},
	{"UPDATE members SET role = role + 1 WHERE team_id = ? AND user_id = ? LIMIT 1", []any{1, "u1"}, true},
	{"UPDATE members SET role = 0 WHERE (team_id = ?) AND (user_id = ?)", []any{1, "u1"}, true},
	{"UPDATE members SET user_id = ? WHERE team_id = ? AND user_id = ? LIMIT 1", []any{"u7", 1, "u2"}, true},
	{"UPDATE members SET role = 2 WHERE team_id = ? ORDER BY user_id LIMIT 1", []any{1}, true},
	{"DELETE FROM members WHERE team_id = ? AND user_id = ? LIMIT 1", []any{1, "u3"}, true},
	{"DELETE FROM teams WHERE id = ? LIMIT 1", []any{77}, true},
	{"DELETE FROM teams WHERE status = ? ORDER BY id LIMIT 10", []any{"old"}, true},
	{"DELETE FROM teams WHERE status = ? ORDER BY seen LIMIT 10", []any{"old"}, true},
	{"UPDATE teams SET status = 'x' WHERE id IN (?, ?, ?)", []any{1, 2, 3}, true},
	{"INSERT INTO members (team_id, user_id) VALUES (?, ?) ON DUPLICATE KEY UPDATE role = role + 1", []any{1, "u1"}, true},
	{"INSERT INTO teams (name, leader_id) VALUES (?, ?) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), name = VALUES(name)", []any{"n", "u1"}, true},
	{"INSERT INTO teams SET name = ?, leader_id = ?", []any{"s", "u44"}, true},
	{"INSERT IGNORE INTO members SELECT id, 'all', 1 FROM teams ORDER BY id", nil, true},
	{"REPLACE INTO members VALUES (?, ?, ?)", []any{5, "u5", 1}, true},
	{"INSERT INTO logs VALUES (NOW(), ?)", []any{"x"}, true},
	{"DELETE FROM logs WHERE at < NOW() - INTERVAL 1 DAY", nil, true},
	{"UPDATE teams JOIN members ON members.team_id = teams.id AND members.user_id = ? SET teams.status = 'j'", []any{"u1"}, true},
	{"DELETE FROM logs LIMIT 1", nil, false},
	{"UPDATE teams SET leader_id = CONCAT(leader_id, 'x')", nil, false},
	{"UPDATE IGNORE teams SET leader_id = 'u1'", nil, false},
	{"UPDATE teams SET status = UUID() WHERE id = ?", []any{1}, false},
	{"INSERT INTO teams (id, name) VALUES (?, ?) ON DUPLICATE KEY UPDATE id = VALUES(id)", []any{nil, "z"}, false},
	{"UPDATE teams JOIN members ON members.team_id = teams.id SET teams.status = members.user_id", nil, false},
}

// TestShapes runs statements as apps have them, and holds what becomes of each against what package lint says without a server. It may say exact of what depends on the values.
func TestShapes(t *testing.T) {
	schema, err := lint.NewSchema(shapeTables...)
	must(t, err)
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			c := startCluster(t, engine, 2)
			c.execShop(t, append(shapeTables, "INSERT INTO teams (name, leader_id) VALUES ('a', 'u1'), ('b', 'u2'), ('c', NULL)",
				"INSERT INTO members VALUES (1, 'u1', 0), (1, 'u2', 0), (1, 'u3', 0)")...)
			p := c.open(t, c.config(fanout.ModeOrdered))
			for _, s := range appShapes {
				_, err := p.DB().Exec(s.text, s.args...)
				if err != nil && !errors.Is(err, fanout.ErrRefused) {
					t.Errorf("%s: %v", s.text, err)
				}
				if taken := err == nil; taken != s.taken {
					t.Errorf("%s %v: taken %v, want %v: %v", s.text, s.args, taken, s.taken, err)
				}
				v := schema.Judge(s.text)
				if refuses := v.Verdict == lint.Refused; refuses && s.taken || !refuses && !s.taken && len(s.args) == 0 {
					t.Errorf("%s: the lint says %v (%s), taken %v", s.text, v.Verdict, v.Reason, s.taken)
				}
			}
			for _, query := range []string{"SELECT CONCAT_WS('/', id, name, leader_id, status, seen) FROM teams", "SELECT CONCAT_WS('/', team_id, user_id, role) FROM members", "SELECT CONCAT_WS('/', at, text) FROM logs"} {
				if n := c.differing(t, query); n > 0 {
					t.Errorf("%s: %d rows differ", query, n)
				}
			}
			if got := states(t, p); got[1] != fanout.InService {
				t.Errorf("states %q, want both in service", got)
			}
		})
	}
}
