package redact_test

import (
	"strings"
	"testing"

	"isukit/infra/redact"
)

// shapes are how languages and formats write a secret, which stands where SECRET is. The values of those in strung are in quotes, and may
// hold anything but quotes, backslashes and line ends.
var strung = []string{
	`{'password': 'SECRET', 'x': 1}`, `config = {"db_password": "SECRET"}`, `PASSWORD = b'SECRET'`, `password=str("SECRET")`, `os.environ.get('DB_PASSWORD', 'SECRET')`, `os.getenv("DB_PASSWORD", "SECRET")`,
	`os.environ["DB_PASSWORD"] = "SECRET"`, `connect(host="db", user='isu', password='SECRET')`, `API_KEY: str = "SECRET"`, `password = f"SECRET"`, // Python
	`define('DB_PASSWORD', 'SECRET');`, `define("DB_PASSWORD","SECRET");`, `'password' => 'SECRET',`, `"password" => "SECRET"`, `$password = 'SECRET';`, `$cfg['db']['password'] = 'SECRET';`,
	`getenv('DB_PASSWORD') ?: 'SECRET'`, `env('DB_PASSWORD', 'SECRET')`, `$config->setPassword('SECRET');`, `$this->password = "SECRET";`, // PHP
	`password := "SECRET"`, `var password = "SECRET"`, `const dbPassword = "SECRET"`, `Password: "SECRET",`, "password := `SECRET`", `getEnv("DB_PASSWORD", "SECRET")`, `cfg.SetPassword("SECRET")`, `Passwd: "SECRET"`,
	`token := []byte("SECRET")`, `var password string = "SECRET"`, `os.Setenv("DB_PASSWORD", "SECRET")`, // Go
	`password: "SECRET",`, `const password = process.env.DB_PASSWORD || 'SECRET';`, `const p = process.env.DB_PASSWORD ?? "SECRET";`, `{password:'SECRET'}`, "let token = `SECRET`;", `let password: string = "SECRET";`, // JavaScript
	`password: 'SECRET'`, `:password => "SECRET"`, `ENV.fetch("DB_PASSWORD") { "SECRET" }`, `ENV['DB_PASSWORD'] || 'SECRET'`, `ENV.fetch('DB_PASSWORD', 'SECRET')`, `set :session_secret, 'SECRET'`, `password "SECRET"`, // Ruby
	`let password = "SECRET";`, `let password: &str = "SECRET";`, `.password("SECRET")`, `env::var("DB_PASSWORD").unwrap_or("SECRET".to_string())`, `const TOKEN: &str = "SECRET";`, // Rust
	`String password = "SECRET";`, `config.setPassword("SECRET");`, `@Value("${db.password:SECRET}")`, `private static final String API_KEY = "SECRET";`, // Java
	`my $password = "SECRET";`, `$ENV{DB_PASSWORD} || 'SECRET'`, `$ENV{DB_PASSWORD} // 'SECRET'`, `password => q(x), secret => "SECRET"`, // Perl
	`{"password":"SECRET"}`, `{ "auth" : { "token" : "SECRET" } }`, `"{\"password\":\"SECRET\"}"`, `"{\\\"password\\\":\\\"SECRET\\\"}"`, `{"a":"{\"api_key\": \"SECRET\"}"}`, // JSON
	`<input type="password" name="p" value="SECRET">`, `<input value="SECRET" type="password">`, `<input name='csrf_token' value='SECRET'/>`, `<property name="password" value="SECRET"/>`, `<meta name="csrf-token" content="SECRET">`, `<db password="SECRET" user="x"/>`, // HTML, XML
	`export DB_PASSWORD="SECRET"`, `DB_PASSWORD='SECRET' ./run`, `mysql -p'SECRET' db`, `sshpass -p 'SECRET' ssh x`, `--password "SECRET"`, `curl -H "X-Api-Key: SECRET"`, `set -gx DB_PASSWORD "SECRET"`, // shells
	`password = "SECRET"`, `db_password: "SECRET"`, `- {name: DB_PASSWORD, value: "SECRET"}`, "- name: DB_PASSWORD\n  value: \"SECRET\"", `Environment="DB_PASSWORD=SECRET"`, `fastcgi_param DB_PASSWORD "SECRET";`, // configurations
	`ALTER USER isu IDENTIFIED BY 'SECRET'`, `SET PASSWORD FOR x = PASSWORD('SECRET')`, `CHANGE MASTER TO MASTER_PASSWORD='SECRET'`,
}

// loose are those without quotes: such values contain neither a space nor a separator.
var loose = []string{
	`DB_PASSWORD=SECRET`, `export DB_PASSWORD=SECRET`, `Environment=DB_PASSWORD=SECRET`, `password: SECRET`, `password = SECRET`, `db.password=SECRET`, `requirepass SECRET`, `masterauth SECRET`, `machine h login u password SECRET`,
	`sshpass -p SECRET ssh x`, `sshpass -pSECRET ssh x`, `mysql -u isu -pSECRET`, `mysql --password=SECRET`, `curl -u admin:SECRET http://x/`, `--token SECRET`, `-token=SECRET`, `redis-cli -a SECRET ping`, `ENV DB_PASSWORD SECRET`, `ARG DB_PASSWORD=SECRET`,
	`setenv DB_PASSWORD SECRET`, `SetEnv DB_PASSWORD SECRET`, `${DB_PASSWORD:-SECRET}`, `password: &p SECRET`, "password: |\n  SECRET", "password: >-\n  SECRET", "- name: DB_PASSWORD\n  value: SECRET", `<password>SECRET</password>`, `<entry key="password">SECRET</entry>`,
	`Authorization: Bearer SECRET`, `Cookie: session=SECRET`, `GET /x?token=SECRET&y=1 HTTP/1.1`, `"GET /x?api_key=SECRET HTTP/1.1"`, `set $x y; password=SECRET`,
}

// addresses are those with a user and a password, which may hold / and @.
var addresses = []string{
	`mysql://isu:SECRET@db:3306/isuconp`, `DATABASE_URL=postgres://isu:SECRET@db/x?sslmode=disable`, `redis://:SECRET@cache:6379/0`, `isu:SECRET@tcp(10.0.0.1:3306)/isuconp?parseTime=true`, `"dsn": "isu:SECRET@unix(/run/x.sock)/db"`,
	`git clone https://me:SECRET@example.com/a/b.git`, `amqp://u:SECRET@mq//`,
}

// planted puts a secret into a shape and returns what of it survives masking.
func planted(shape, secret string) (masked string, survives bool) {
	masked = redact.Text(strings.ReplaceAll(shape, "SECRET", secret))
	return masked, strings.Contains(masked, secret)
}

func TestShapes(t *testing.T) {
	for _, shape := range append(append(append([]string{}, strung...), loose...), addresses...) {
		if masked, survives := planted(shape, "hunter2Zq9xW"); survives {
			t.Errorf("%s\n became %s", shape, masked)
		}
	}
	for _, shape := range strung {
		if masked, survives := planted(shape, "a b,c;d)e&f}g]h"); survives {
			t.Errorf("with separators: %s\n became %s", shape, masked)
		}
	}
	for _, shape := range addresses {
		if masked, survives := planted(shape, "p/w@x:y#12"); survives {
			t.Errorf("with / and @: %s\n became %s", shape, masked)
		}
	}
}

// TestMakersKeys holds that keys are known by their beginnings alone. Their bodies are made here, so that none is anybody's.
func TestMakersKeys(t *testing.T) {
	body := strings.Repeat("Ab1", 14)
	for _, key := range []string{"AKIA" + strings.Repeat("A1B2", 4), "ASIA" + strings.Repeat("A1B2", 4), "ghp_" + body, "github_pat_" + body, "xoxb-" + body, "glpat-" + body, "sk_live_" + body, "rk_test_" + body, "sk-" + body, "AIza" + body,
		"ya29." + body, "npm_" + body, "pypi-" + body, "hf_" + body, "SG." + body + "." + body, "whsec_" + body, "dckr_pat_" + body, "hvs." + body, "GOCSPX-" + body} {
		if got := redact.Text("see " + key + " here"); strings.Contains(got, key) || !strings.HasSuffix(got, "here") {
			t.Errorf("%s: %s", key, got)
		}
	}
}

// alphabet is what a planted secret is made of; each shape takes those of its own kind.
const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#%^*+=._~-"

func secretOf(raw []byte, more string) string {
	letters := alphabet + more
	secret := []byte("Zq9x")
	for _, c := range raw[:min(len(raw), 40)] {
		secret = append(secret, letters[int(c)%len(letters)])
	}
	return string(append(secret, "xW2r"...))
}

// FuzzPlanted holds that a secret planted in any shape survives nowhere, whatever stands on the lines around it.
func FuzzPlanted(f *testing.F) {
	for i := range uint16(len(strung) + len(loose) + len(addresses)) {
		f.Add([]byte{byte(i), 'a', 77}, i, `password: "`, `x`)
	}
	f.Fuzz(func(t *testing.T, raw []byte, which uint16, before, after string) {
		n := int(which) % (len(strung) + len(loose) + len(addresses))
		var shape, secret string
		switch {
		case n < len(strung):
			shape, secret = strung[n], secretOf(raw, " ,;:)(]}@/&|?$")
		case n < len(strung)+len(loose):
			shape, secret = loose[n-len(strung)], secretOf(raw, ":/@?")
		default:
			shape, secret = addresses[n-len(strung)-len(loose)], secretOf(raw, ":/@?")
		}
		if strings.Contains(before+after, secret) {
			return
		}
		text := strings.ReplaceAll(shape, "SECRET", secret)
		if got := redact.Text(before + "\n" + text + "\n" + after); strings.Contains(got, secret) {
			t.Errorf("%q survives in\n%s", secret, got)
		}
	})
}
