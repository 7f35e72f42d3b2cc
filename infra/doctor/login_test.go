package doctor_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"isukit/infra/doctor"
	enginemysql "isukit/infra/engine/mysql"
	"isukit/infra/infratest"
	"isukit/infra/infratest/wait"
)

// root asks the server on s2 over its socket.
func (n *network) root(t *testing.T) enginemysql.SQL {
	t.Helper()
	cfg, err := mysql.ParseDSN(n.db.RootDSN(""))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Net, cfg.Addr = "unix", n.db.Socket
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	t.Cleanup(func() { pool.Close() })
	return enginemysql.SQL{DB: pool}
}

// exec runs statements on the server on s2.
func (n *network) exec(t *testing.T, statements ...string) {
	t.Helper()
	q := n.root(t)
	for _, s := range statements {
		if _, err := q.Query(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// restart starts the server on s2 with other options; one of the same name is replaced.
func (n *network) restart(t *testing.T, options ...string) {
	t.Helper()
	if err := n.s2.Stop(t.Context(), "db-1", 20*time.Second); err != nil {
		t.Fatal(err)
	}
	argv := append([]string{}, n.argv...)
	for _, o := range options {
		name, _, _ := strings.Cut(o, "=")
		found := false
		for i, a := range argv {
			if strings.HasPrefix(a, name+"=") {
				argv[i], found = o, true
			}
		}
		if !found {
			argv = append(argv, o)
		}
	}
	n.startQuietly(t, argv)
	wait.For(t, "the database on s2", func() bool {
		_, err := n.root(t).Query(t.Context(), "SELECT 1")
		return err == nil
	})
}

// logins are the findings of db-login for an app of the user isu on s1: of trying, and of what the server says.
func (n *network) logins(t *testing.T) []doctor.Finding {
	t.Helper()
	o := n.observe(t)
	d, err := doctor.LookAtDatabase(t.Context(), "db-1", n.root(t))
	if err != nil {
		t.Fatal(err)
	}
	d.Clients = []doctor.Client{{Address: n.s1.About().Address, User: "isu"}}
	for i := range o.Hosts {
		if o.Hosts[i].Name == "s2" {
			o.Hosts[i].Databases = []doctor.Database{d}
		}
	}
	return diagnose(t, "db-login", o)
}

// TestLogin removes, layer by layer, what a client on another host needs; with the suggested fix the check is silent again.
func TestLogin(t *testing.T) {
	for _, engine := range infratest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			n := withDatabase(t, engine, true)
			const isu = "'isu'@'10.77.0.%'"
			wantSilence(t, "healthy", n.logins(t))

			n.exec(t, "RENAME USER "+isu+" TO 'isu'@'10.77.0.250'")
			found := n.logins(t)
			wantFinding(t, "an account of another host", found, doctor.Crit, "CREATE USER IF NOT EXISTS 'USER'@'10.77.0.%'", "takes no account from this host (error 1130)")
			wantFinding(t, "an account of another host", found, doctor.Crit, "RENAME USER", "user isu may log in from 10.77.0.250, not from its client "+n.s1.About().Address)
			n.fix(t, found, "RENAME USER")
			wantSilence(t, "renamed as the fix says", n.logins(t))
			n.exec(t, "RENAME USER 'isu'@'%' TO "+isu)

			n.exec(t, "DROP USER "+isu)
			wantFinding(t, "no account", n.logins(t), doctor.Crit, "CREATE USER 'isu'", "user isu has no account for its client's host")
			n.exec(t, "CREATE USER "+isu+" IDENTIFIED BY 'another'")
			wantFinding(t, "another password", n.logins(t), doctor.Crit, "FROM mysql.user", "refuses isu from this host (error 1045)")
			n.exec(t, "ALTER USER "+isu+" IDENTIFIED BY 'for-tests-only'")
			wantSilence(t, "the right password", n.logins(t))

			n.plugin(t, engine, isu)

			n.restart(t, "--bind-address=127.0.0.1")
			found = n.logins(t)
			wantFinding(t, "bound to loopback, tried", found, doctor.Crit, "bind_address", "the port cannot be reached", "refused", "db-1 has bind_address 127.0.0.1")
			wantFinding(t, "bound to loopback", found, doctor.Crit, "bind_address = 0.0.0.0", "its clients are on other hosts")
			n.restart(t, "--skip-networking=ON")
			wantFinding(t, "no networking", n.logins(t), doctor.Crit, "bind_address", "the port cannot be reached", "db-1 has skip_networking ON")
			n.restart(t, "--bind-address=0.0.0.0")
			wantSilence(t, "bound as the fix says", n.logins(t))
		})
	}
}

// plugin gives the account a plugin that keeps its client out, on the engine that has it.
func (n *network) plugin(t *testing.T, engine, account string) {
	t.Helper()
	if engine == "mariadb" {
		n.exec(t, "ALTER USER "+account+" IDENTIFIED VIA unix_socket")
		found := n.logins(t)
		wantFinding(t, "unix_socket, tried", found, doctor.Crit, "FROM mysql.user", "refuses isu from this host (error 1698)")
		wantFinding(t, "unix_socket", found, doctor.Crit, "ALTER USER", "has the plugin unix_socket, which takes nobody from another host")
		n.exec(t, "ALTER USER "+account+" IDENTIFIED BY 'for-tests-only'")
	} else {
		n.restart(t, "--tls-version=")
		wantFinding(t, "caching_sha2_password without TLS", n.logins(t), doctor.Note, "switch TLS on", "has the plugin caching_sha2_password and the server no TLS")
		n.restart(t)
	}
	wantSilence(t, "another plugin", n.logins(t))
}

// fix runs the statement that a finding gives.
func (n *network) fix(t *testing.T, found []doctor.Finding, with string) {
	t.Helper()
	for _, f := range found {
		if statement, _, _ := strings.Cut(f.Fix, ";"); strings.HasPrefix(statement, with) {
			n.exec(t, statement, "FLUSH PRIVILEGES")
			return
		}
	}
	t.Errorf("no fix begins with %q", with)
}
