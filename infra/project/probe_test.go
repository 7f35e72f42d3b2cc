package project_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/project"
)

// contestHost is what a host of a contest prints, cut.
const contestHost = `
@nginx 
# configuration file /etc/nginx/nginx.conf:
http {
    access_log /var/log/nginx/access.log;
    server { access_log /var/log/nginx/app.log ltsv buffer=32k; location /x { access_log off; } }
}
@nginx -c /opt/b.conf -p /opt
http { 
access_log /opt/b.log main;
access_log logs/relative.log;
}
@user
isucon
@units
dbus.service
isu-go.service
mysql.service
nginx.service
systemd-logind.service
@ports
LISTEN 0 511 0.0.0.0:80 0.0.0.0:* users:(("nginx",pid=1,fd=6))
LISTEN 0 4096 *:8080 *:*
@pprof
http://127.0.0.1:6060
@tools
mysql
go
perf
@processes
mysqld
nginx
@databases
sudo -n mysql	0	10.000000	1	/var/lib/mysql/	host-slow.log
@logs
/var/log/nginx/access.log
/var/log/mysql/old-slow.log
`

func TestDraft(t *testing.T) {
	text := project.ParseProbe(contestHost).Draft("isu")
	if _, err := project.Parse([]byte(text)); err != nil {
		t.Fatalf("the draft is no project: %v\n%s", err, text)
	}
	for _, want := range []string{
		"# listening: 80 nginx, 8080\n",
		"{hosts: [local], run: sudo systemctl try-restart isu-go.service mysql.service nginx.service}",
		"{host: local, file: /var/log/nginx/access.log, reopen: sudo nginx -s reopen}   # no times in it",
		"{host: local, file: /var/log/nginx/app.log, reopen: sudo nginx -s reopen}   # log_format ltsv\n",
		"{host: local, file: /opt/b.log, reopen: sudo nginx -c /opt/b.conf -p /opt -s reopen}   # no times in it",
		"{host: local, file: /var/lib/mysql/host-slow.log}   # switch it on: SET GLOBAL slow_query_log = ON, long_query_time = 0\n",
		"{host: local, client: sudo mysql}", `pprof:
    - {host: local, url: "http://127.0.0.1:6060"}`, "sudo: true", "initialize: /initialize",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the draft lacks %q:\n%s", want, text)
		}
	}
	for _, not := range []string{"relative.log", "old-slow", "dbus", "systemd-logind"} {
		if strings.Contains(text, not) {
			t.Errorf("the draft has %q:\n%s", not, text)
		}
	}
}

// TestDraftOfNothing is of a host that tells nothing, and of root's on which a database asks for a password.
func TestDraftOfNothing(t *testing.T) {
	for probe, want := range map[string]string{
		"":                                    "# logs:                       # none was found",
		"\n@user\nroot\n@processes\nmysqld\n": "{host: local, client: mysql}   # it did not answer without a password",
	} {
		text := project.ParseProbe(probe).Draft("isu")
		if _, err := project.Parse([]byte(text)); err != nil || !strings.Contains(text, want) {
			t.Errorf("%q: %v, want %q in\n%s", probe, err, want, text)
		}
	}
}

var update = flag.Bool("update", false, "rewrite the golden files")

// TestDraftLayouts writes the description of hosts as images of public contests have them: names and directives only.
func TestDraftLayouts(t *testing.T) {
	layouts, err := filepath.Glob("testdata/layouts/*/probe.txt")
	if err != nil || len(layouts) < 4 {
		t.Fatalf("layouts: %q, %v", layouts, err)
	}
	for _, file := range layouts {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := project.ParseProbe(string(text)).Draft("app")
			if _, err := project.Parse([]byte(got)); err != nil {
				t.Errorf("the draft is no project: %v", err)
			}
			golden := filepath.Join(filepath.Dir(file), "init.golden.yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("the draft is\n%s\nwant (%v)\n%s", got, err, want)
			}
		})
	}
}

// TestBuilds reports a program's build command if the files next to it leave no doubt.
func TestBuilds(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go/go.mod": "", "go/main.go": "package main\n", "lib/go.mod": "", "lib/cmd/app/main.go": "package main\n", "made/Makefile": "all:\n\tgo build -o app\n",
		"made/go.mod": "", "rust/Cargo.toml": "", "js/package.json": `{"scripts":{"build":"tsc"}}`, "plain/package.json": "{}",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script, _, _ := strings.Cut(project.RolesScript, "echo @listen")
	for _, tt := range []struct{ program, in, dir, build string }{
		{dir + "/go/app", dir + "/go", dir + "/go", "go build -o app ."},
		{dir + "/go/bin/app", dir + "/go", dir + "/go", "go build -o bin/app ."},
		{dir + "/go/bin/app", "/", "", ""},
		{dir + "/lib/app", dir + "/lib", dir + "/lib", ""},
		{dir + "/made/app", "/", dir + "/made", "make"},
		{dir + "/made/other", "/", dir + "/made", ""},
		{dir + "/rust/target/release/app", dir + "/rust", dir + "/rust", "cargo build --release"},
		{"/usr/bin/node", dir + "/js", dir + "/js", "npm run build"},
		{"/usr/bin/node", dir + "/plain", dir + "/plain", ""},
		{"/usr/bin/perl", dir + "/go", "", ""},
	} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "have() { true; }\n"+script+`builds "$1" "$2"`, "sh", tt.program, tt.in).CombinedOutput()
		want := "Dir=" + tt.dir + "\nBuild=" + tt.build + "\n"
		if tt.dir == "" {
			want = ""
		}
		if err != nil || string(out) != want {
			t.Errorf("%s in %s: got %v, %q, want %q", tt.program, tt.in, err, out, want)
		}
	}
}

// TestShown wants files that may name an address to be found, and to be printed without what is secret in them.
func TestShown(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"env.sh":             "export DB_HOST=\"127.0.0.1\"\nexport DB_PASS='5ecret; 5ecret'\nAPI_TOKEN=5ecret # 5ecret\nDSN=u:5ecret@x5ecret@tcp(127.0.0.1:3306)/db\n",
		"app.service":        "[Service]\nEnvironment=\"DB_HOST=localhost\" \"DB_PASSWORD=5ecret 5ecret\"\nEnvironment=SECRET_KEY=5ecret\n",
		"config.toml":        "[database]\nhost = \"localhost\"\npassword = \"5ecret\"\n",
		"config/default.yml": "db:\n  host: 127.0.0.1\n  password: 5ecret 5ecret\n  url: mysql://u:5ecret@localhost:3306/db\n",
		"config/app.json":    `{"db": {"host": "localhost", "password": "5e\"cret5ecret", "port": 3306}, "apiKey": "5ecret"}`,
		"package.json":       `{"proxy": "http://localhost:3000"}`, "config/other.yml": "db: {host: db.internal}\n", "app.rb": "'127.0.0.1'",
	} {
		file := filepath.Join(dir, "app", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script, _, _ := strings.Cut(project.RolesScript, "echo @listen")
	out, err := exec.CommandContext(t.Context(), "sh", "-c", script+`shown $(configs "$1") "$1/app.service"`, "sh", filepath.Join(dir, "app")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"/env.sh\nexport DB_HOST=\"127.0.0.1\"\n", "@tcp(127.0.0.1:3306)/db", `"DB_HOST=localhost"`, "host = \"localhost\"", "host: 127.0.0.1", "u:hidden@localhost:3306/db", `"host": "localhost"`, `"port": 3306`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it lacks %q", want)
		}
	}
	for _, not := range []string{"5ecret", "package.json", "other.yml", "app.rb"} {
		if strings.Contains(string(out), not) {
			t.Errorf("it has %q", not)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
