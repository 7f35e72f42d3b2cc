package tune_test

import (
	"strings"
	"testing"

	"isukit/infra/tune"
)

// TestPlainFiles takes files as a team has them for tunings.
func TestPlainFiles(t *testing.T) {
	got, err := tune.Parse("/home/isucon/my.cnf", []byte("# ours\n[client]\nuser = root\n[mysqld]\nskip-log-bin\ninnodb_buffer_pool_size = 1G # most of it\n"))
	if err != nil || got.Name != "mysql/my" || len(got.Settings) != 2 || got.Settings[0].Reads != "log_bin=OFF" || got.Settings[1].Value != "1G" || got.Settings[1].Why != "from /home/isucon/my.cnf" {
		t.Errorf("my.cnf: %+v, %v", got, err)
	}
	got, err = tune.Parse("sysctl.conf", []byte("# ours\n\nnet.core.somaxconn = 8192\nnet.ipv4.ip_local_port_range = 10000 65535\n"))
	if err != nil || got.Kind != tune.Sysctl || got.Name != "sysctl/sysctl" || len(got.Settings) != 2 || got.Settings[1].Value != "10000 65535" {
		t.Errorf("sysctl.conf: %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"[mysqld]\n!include /etc/x.cnf\n": "a tuning is one file",
		"[client]\nuser = root\n":         "no setting of a server",
		"hello\n":                         "the first line must be",
	} {
		if _, err := tune.Parse("x.cnf", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
