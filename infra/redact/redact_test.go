package redact_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"isukit/infra/redact"
)

// TestSecretsAreGone holds that "hunter2..." is in none of these afterwards, and that what a reader needs still is.
func TestSecretsAreGone(t *testing.T) {
	const secret = "hunter2Zq9xW"
	for text, kept := range map[string]string{
		"mysql -uisu -phunter2Zq9xW isuconp -e 'select 1'":                             "isuconp",
		"mysqldump --password=hunter2Zq9xW isuconp":                                    "isuconp",
		"mysql --password 'hunter2Zq9xW' isuconp":                                      "isuconp",
		"MYSQL_PWD=hunter2Zq9xW mysql isuconp":                                         "isuconp",
		"isu:hunter2Zq9xW@tcp(10.0.0.1:3306)/isuconp?parseTime=true":                   "tcp(10.0.0.1:3306)/isuconp?parseTime=true",
		"mysql://isu:hunter2Zq9xW@db:3306/isuconp":                                     "@db:3306/isuconp",
		"redis://:hunter2Zq9xW@cache:6379/0":                                           "cache:6379",
		"Environment=ISUCONP_DB_PASSWORD=hunter2Zq9xW":                                 "ISUCONP_DB_PASSWORD",
		"ISUCONP_DB_PASSWORD='hunter2Zq9xW' LANG=C":                                    "LANG=C",
		`{"db_password": "hunter2Zq9xW", "score": 5}`:                                  `"score": 5`,
		`{"token":"hunter2Zq9xW"}`:                                                     "token",
		"curl -u admin:hunter2Zq9xW http://portal/api":                                 "http://portal/api",
		"curl -H 'Authorization: Bearer hunter2Zq9xW' http://portal/api":               "http://portal/api",
		"curl -H 'Cookie: session=hunter2Zq9xW; a=b' http://portal/":                   "http://portal/",
		"Set-Cookie: rack.session=hunter2Zq9xW; path=/":                                "Set-Cookie",
		"proxy_set_header X-Api-Key hunter2Zq9xW; proxy_pass http://app;":              "proxy_pass http://app;",
		"./bench --token hunter2Zq9xW --target http://s1":                              "--target http://s1",
		"./bench -token=hunter2Zq9xW -target http://s1":                                "-target http://s1",
		"BENCH_API_KEY: hunter2Zq9xW":                                                  "BENCH_API_KEY",
		"CREATE USER isu IDENTIFIED BY 'hunter2Zq9xW'":                                 "CREATE USER isu",
		"ALTER USER isu IDENTIFIED WITH caching_sha2_password BY 'hunter2Zq9xW'":       "ALTER USER isu",
		"SET PASSWORD FOR isu = PASSWORD('hunter2Zq9xW')":                              "isu",
		"https://hooks.slack.com/services/T0/B0/hunter2Zq9xW":                          "hooks.slack.com",
		"-----BEGIN RSA PRIVATE KEY-----\nhunter2Zq9xW\n-----END RSA PRIVATE KEY-----": "-----END",
		"-----BEGIN PRIVATE KEY-----\nhunter2Zq9xW":                                    "BEGIN",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2Zq9xW":                    "",
		"GET /login?user=a&password=hunter2Zq9xW&x=1":                                  "x=1",
	} {
		got := redact.Text(text)
		if strings.Contains(got, secret) {
			t.Errorf("the secret is still in %s", got)
		}
		if !strings.Contains(got, kept) {
			t.Errorf("%s\n became %s,\n which lacks %q", text, got, kept)
		}
	}
}

func TestStatements(t *testing.T) {
	const secret = "hunter2Zq9xW"
	for _, text := range []string{
		"INSERT INTO users (account_name, passhash) VALUES ('mary', 'hunter2Zq9xW')",
		"SELECT * FROM sessions WHERE id = 'hunter2Zq9xW'",
		"UPDATE users SET password_digest = \"hunter2Zq9xW\" WHERE id = 1",
		"SELECT SHA2('hunter2Zq9xW', 256)",
		"INSERT INTO users (passhash) VALUES ('hunter2Zq9xW",
		"SELECT 1 FROM tokens WHERE token='it''s hunter2Zq9xW'",
	} {
		if got := redact.Statement(text); strings.Contains(got, secret) || !strings.Contains(got, redact.Mask) {
			t.Errorf("%s became %s", text, got)
		}
	}
	plain := "SELECT * FROM posts WHERE created_at <= '2016-01-02' AND name = 'mary' LIMIT 20"
	if got := redact.Statement(plain); got != plain {
		t.Errorf("%s became %s", plain, got)
	}
}

// TestWhatIsNoSecretStays holds that ordinary text is not touched.
func TestWhatIsNoSecretStays(t *testing.T) {
	for _, text := range []string{
		"./bench -t http://127.0.0.1:8080 -u ./userdata", "mkdir -p /var/www && cp -pr a b", "proxy_cache_key $uri;", "git rev-parse HEAD",
		"nginx -p /etc/nginx -c nginx.conf", "server 10.0.0.1:8080;", "time:14/Oct/2026:20:26:40 +0000", "ratio 3:4 at 12:30", "key_buffer_size = 16M",
		"listen 80; server_name example.com;", "http://localhost:8080/a@b",
	} {
		if got := redact.Text(text); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
}

// TestValues holds that a known value is in no string, key or list of a record, and that numbers stay numbers, even of the same digits.
func TestValues(t *testing.T) {
	type part struct {
		Name  string            `json:"name"`
		Count int64             `json:"count"`
		More  map[string][]any  `json:"more"`
		Times map[string]string `json:"times"`
	}
	const secret = "9007199254740993"
	p := part{"x " + secret, 9007199254740993, map[string][]any{"a" + secret: {secret, map[string]any{"b": "q\"" + secret}}}, nil}
	if err := redact.Values(&p, "unknown", secret); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(p), `{x *** 9007199254740993 map[a***:[*** map[b:q"***]]] map[]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestKnown(t *testing.T) {
	if got := redact.Known("a abc xyzzy-key", "xyzzy", "a"); got != "a abc ***-key" {
		t.Errorf("got %q", got)
	}
	for name, want := range map[string]bool{"db_password": true, "ssl_key": false, "validate_password": true, "max_connections": false, "GITHUB_TOKEN": true} {
		if got := redact.Secret(name); got != want {
			t.Errorf("Secret(%s) = %v", name, got)
		}
	}
}

// TestEnvironment has what variables hold a secret, and paths, which do not.
func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	got := redact.Environment([]string{"PWD=" + dir, "OLDPWD=" + dir, "APP_CREDENTIALS=" + dir, "HOME=" + dir, "MYSQL_PWD=hunter2Zq9xW", "APP_SECRET=/hunter2Zq9xW", "DSN=isu:pass4word@tcp(db:3306)/app"})
	want := []string{"hunter2Zq9xW", "/hunter2Zq9xW", "isu:pass4word@tcp(db:3306)/app", "pass4word"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
