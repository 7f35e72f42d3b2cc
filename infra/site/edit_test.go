package site

import (
	"strings"
	"testing"
)

func TestSetEnv(t *testing.T) {
	for name, c := range map[string]struct{ text, key, value, want, fault string }{
		"shell":       {text: "A=1\nexport DB=\"127.0.0.1\" # db\n", key: "DB", value: "10.0.0.2", want: "A=1\nexport DB=\"10.0.0.2\" # db\n"},
		"single":      {text: "DB='x'\nDB_PORT=1", key: "DB", value: "y", want: "DB='y'\nDB_PORT=1"},
		"bare":        {text: "DB=x", key: "DB", value: "y", want: "DB=y"},
		"empty":       {text: "DB=\nC=1\n", key: "DB", value: "y", want: "DB=y\nC=1\n"},
		"crlf":        {text: "DB=x\r\nC=1\r\n", key: "DB", value: "y", want: "DB=y\r\nC=1\r\n"},
		"two on line": {text: "export A=1 DB=x C=2\n", key: "DB", value: "y", want: "export A=1 DB=y C=2\n"},
		"unit":        {text: "[Service]\nEnvironment=\"A=b c\" \"DB=x\"\n", key: "DB", value: "y", want: "[Service]\nEnvironment=\"A=b c\" \"DB=y\"\n"},
		"unit bare":   {text: "Environment=DB=x\n", key: "DB", value: "y", want: "Environment=DB=y\n"},
		"default":     {text: "DB=${DB:-localhost}\n", key: "DB", value: "y", want: "DB=y\n"},
		"option":      {text: "# -l is where\n-m 64\n-l 127.0.0.1\n", key: "-l", value: "0.0.0.0", want: "# -l is where\n-m 64\n-l 0.0.0.0\n"},
		"loopback":    {text: "DB=localhost\n", key: "DB", value: "127.0.0.1", want: "DB=localhost\n"},
		"comment":     {text: "#DB=a\nDB=b\n", key: "DB", value: "y", want: "#DB=a\nDB=y\n"},
		"longer":      {text: "XDB=a\nDBX=b\n", key: "DB", value: "y", fault: "does not assign DB"},
		"twice":       {text: "DB=a\n\nDB=b\n", key: "DB", value: "y", fault: "lines 1 and 3"},
		"yaml":        {text: "db:\n  host: localhost # here\n  port: 3306\n", key: "host", value: "y", want: "db:\n  host: y # here\n  port: 3306\n"},
		"yaml flow":   {text: "db: {host: localhost, port: 3306}\n", key: "db.host", value: "y", want: "db: {host: y, port: 3306}\n"},
		"toml":        {text: "[db]\nhost = \"127.0.0.1\"\n[cache]\nhost = \"localhost\"\n", key: "cache.host", value: "y", want: "[db]\nhost = \"127.0.0.1\"\n[cache]\nhost = \"y\"\n"},
		"toml deep":   {text: "[a.db]\nhost = \"x\"\n[b.db]\nhost = \"x\"\n", key: "b.db.host", value: "y", want: "[a.db]\nhost = \"x\"\n[b.db]\nhost = \"y\"\n"},
		"json":        {text: "{\n  \"db\": {\n    \"host\": \"x\",\n    \"port\": 1\n  },\n  \"cache\": {\"host\": \"x\"}\n}\n", key: "db.host", value: "y", want: "{\n  \"db\": {\n    \"host\": \"y\",\n    \"port\": 1\n  },\n  \"cache\": {\"host\": \"x\"}\n}\n"},
		"json line":   {text: `{"db":{"port":1,"host":"x"},"cache":{"host":"x"}}`, key: "cache.host", value: "y", want: `{"db":{"port":1,"host":"x"},"cache":{"host":"y"}}`},
		"ruby yml":    {text: "default: &default\n  adapter: mysql2\n  host: 127.0.0.1\nproduction:\n  <<: *default\n  host: x\n", key: "production.host", value: "y", want: "default: &default\n  adapter: mysql2\n  host: 127.0.0.1\nproduction:\n  <<: *default\n  host: y\n"},
		"properties":  {text: "spring.db.host = x\n", key: "spring.db.host", value: "y", want: "spring.db.host = y\n"},
		"no section":  {text: "[db]\nport = 1\n[cache]\nhost = \"x\"\n", key: "db.host", value: "y", fault: "does not assign db.host"},
		"two there":   {text: "db:\n  host: x\ncache:\n  host: x\n", key: "host", value: "y", fault: "assigns host 2 times"},
		"redis":       {text: "# bind 1.1.1.1\nbind 127.0.0.1 -::1\n", key: "bind", value: "0.0.0.0", want: "# bind 1.1.1.1\nbind 0.0.0.0 -::1\n"},
		"commas":      {text: "DB=a\n", key: "DB", value: "a b", want: "DB=\"a b\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := setEnv(c.text, c.key, c.value)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("setEnv: %q, %v, want the fault %q", got, err, c.fault)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("setEnv: %q, %v, want %q", got, err, c.want)
			}
		})
	}
	if got := unquoted(`'it is; "secret"'`); got != `it is; "secret"` {
		t.Errorf("unquoted: %q", got)
	}
}

const envoyText = `static_resources:
  clusters:
    - name: web
      type: STRICT_DNS
      load_assignment:
        cluster_name: web
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address:
                    socket_address:
                      address: localhost
                      port_value: 9292
    - name: api
      type: STRICT_DNS
`

func TestSwap(t *testing.T) {
	for name, c := range map[string]struct {
		text, literal string
		addresses     []string
		want          []string // parts
		fault         string
	}{
		"one":      {"a localhost:1323;\nlocalhost:13230\n", "localhost:1323", []string{"10.0.0.2:1323"}, []string{"a 10.0.0.2:1323;\nlocalhost:13230\n"}, ""},
		"absent":   {"server { listen 80; }", "localhost:1323", []string{"10.0.0.2:1323"}, nil, "does not stand in it"},
		"pass":     {"server {\n\tlocation / { proxy_pass http://localhost:1323; }\n}\n", "localhost:1323", []string{"localhost:1323", "10.0.0.2:1323"}, []string{"upstream isukit-app {\n\tserver localhost:1323;\n\tserver 10.0.0.2:1323;\n}\nserver {", "proxy_pass http://isukit-app;"}, ""},
		"upstream": {"upstream app {\n\tserver localhost:1323 max_fails=0;\n}\n", "localhost:1323", []string{"localhost:1323", "10.0.0.2:1323"}, []string{"\tserver localhost:1323 max_fails=0;\n\tserver 10.0.0.2:1323 max_fails=0;\n"}, ""},
		"http":     {"http {\n\tserver { location / { proxy_pass http://unix:/run/a.sock; } }\n}\n", "unix:/run/a.sock", []string{"unix:/run/a.sock", "10.0.0.2:80"}, []string{"http {\nupstream isukit-app {", "http://isukit-app;"}, ""},
		"no nginx": {"x: localhost:1323 }", "localhost:1323", []string{"a:1", "b:1"}, nil, "takes a configuration of nginx"},
		"cluster":  {envoyText, "cluster web", []string{"10.0.0.2:9292", "10.0.0.3:9292"}, []string{"address: 10.0.0.2\n                      port_value: 9292\n              - endpoint:", "address: 10.0.0.3\n                      port_value: 9292\n    - name: api"}, ""},
		"no such":  {envoyText, "cluster other", []string{"10.0.0.2:9292"}, nil, "no cluster other"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := swap("/etc/x.conf", c.text, c.literal, "app", c.addresses)
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) {
					t.Fatalf("swap: %q, %v, want the fault %q", got, err, c.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range c.want {
				if !strings.Contains(got, part) {
					t.Errorf("swap gives\n%s\nwhich lacks %q", got, part)
				}
			}
			back, ok := takeBack(c.text, got, got+"# more\n")
			if !ok || back != c.text+"# more\n" {
				t.Errorf("taken back with a line of somebody else: %v\n%s", ok, back)
			}
		})
	}
}

func TestTakeBack(t *testing.T) {
	base, wrote := "a\nDB=x\nb\nREDIS=x\nc\n", "a\nDB=y\nb\nREDIS=z\nc\n"
	for name, c := range map[string]struct {
		text, want string
		ok         bool
	}{
		"as written":   {wrote, base, true},
		"not written":  {base, base, true},
		"more lines":   {"new\na\nDB=y\nb\nREDIS=z\nc\nnew\n", "new\na\nDB=x\nb\nREDIS=x\nc\nnew\n", true},
		"our line":     {"a\nDB=w\nb\nREDIS=z\nc\n", "", false},
		"half is gone": {"a\nDB=y\nb\nc\n", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := takeBack(base, wrote, c.text)
			if ok != c.ok || ok && got != c.want {
				t.Errorf("takeBack: %q, %v, want %q, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestWithout(t *testing.T) {
	got, err := without("[Unit]\nAfter=a.service mysql.service\nRequires=mysql.service\nWants=mysql.service x.service\n", "mysql.service")
	if want := "[Unit]\nAfter=a.service mysql.service\nWants=x.service\n"; err != nil || got != want {
		t.Errorf("without: %q, %v, want %q", got, err, want)
	}
	if _, err := without("[Unit]\nAfter=mysql.service\n", "mysql.service"); err == nil {
		t.Error("a unit that requires nothing was edited")
	}
}
