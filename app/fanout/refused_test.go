package fanout_test

import (
	"errors"
	"strings"
	"testing"

	"forge.example/account/isukit/app/fanout"
)

func TestRefusedStatementsSayWhatToWrite(t *testing.T) {
	p, servers := fakes(t, 2, nil)
	for text, hint := range map[string]string{
		"INSERT INTO t VALUES (UUID())": "make the UUID in the app",
		"UPDATE t SET a = RAND()":       "draw the number in the app",
		"DELETE FROM t LIMIT 1":         "add a primary key",
		"BEGIN":                         "BeginTx",
		"UPDATE t SET a = 1; SELECT 1":  "one by one",
	} {
		_, err := p.DB().Exec(text)
		if !errors.Is(err, fanout.ErrRefused) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%s: got %v, want ErrRefused with %q", text, err, hint)
		}
		if fanout.FateOf(err) != fanout.NotApplied {
			t.Errorf("%s: fate %q, want not applied", text, fanout.FateOf(err))
		}
	}
	if n := len(servers[0].log()) + len(servers[1].log()); n > 0 {
		t.Errorf("%d refused statements were executed", n)
	}
}
