package project_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"isukit/infra/project"
)

const whole = `
name: private-isu
hosts:
  - {name: s1}
  - {name: s2, address: isucon@10.0.0.2, roles: [db]}
build:
  - run: make app
deploy:
  - {host: s1, copy: app/app, to: /home/isucon/app}
restart:
  - {hosts: [s1, s2], run: sudo systemctl restart mysql nginx, timeout: 90s}
logs:
  access:
    - {host: s1, file: /var/log/nginx/access.log, format: ltsv, reopen: nginx -s reopen}
  slow:
    - {host: s2, file: /var/log/mysql/slow.log}
routes: ["/posts/:id"]
databases:
  - {host: s2, client: mysql -uroot, schema: isuconp}
profiles:
  pprof: [{host: s1, url: "http://localhost:6060", kinds: [cpu, mutex], seconds: 20}]
  perf: [{host: s2, sudo: true}]
benchmark:
  command: ./bench -t http://s1
  timeout: 3m
  score: {json: .score}
  pass: {json: .pass}
facts:
  - {key: ruby, host: s1, run: ruby --version}
notify: {webhook_env: WEBHOOK}
final:
  off: [{host: s2, run: mysql -e "SET GLOBAL slow_query_log = OFF"}]
  services: [{host: s1, units: [nginx]}]
  rounds: 2
`

func TestParse(t *testing.T) {
	p, err := project.Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Hosts) != 2 || time.Duration(p.Restart[0].Timeout) != 90*time.Second || len(p.Restart[0].Where()) != 2 || p.Benchmark.Score.JSON != ".score" {
		t.Errorf("read %+v", p)
	}
	small, err := project.Parse([]byte("name: a\nlogs: {access: [{file: /a.log}]}\nbenchmark: {external: true}\n"))
	if err != nil || small.Logs.Access[0].Host != project.Local {
		t.Errorf("the smallest project: %+v, %v", small, err)
	}
}

// TestFaults wants all faults of a file together.
func TestFaults(t *testing.T) {
	_, err := project.ParseWith([]byte(`
name: a b
hosts: [{name: s1}, {name: s1}, {name: s2}]
deploy: [{copy: a}, {run: b, copy: c, to: d}, {host: s9, run: x}]
logs: {access: [{file: access.log}]}
databases: [{host: s1}]
replicas: {databases: [{name: a b}]}
profiles: {pprof: [{host: s1, url: "localhost:6060", kinds: [trace]}]}
benchmark: {command: x, external: true, score: {json: .a}, fail: {json: .b}, initialize: initialize}
`), project.Outside{Rule: func(r project.Rule) error {
		if r.JSON == "" {
			return nil
		}
		return fmt.Errorf("no %s", r.JSON)
	}})
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{`name "a b"`, `host name "s1"`, "deploy[0]: copy and to", "deploy[0]: copy where", "deploy[1]: want either", "deploy[1]: to must be", `host "s9" not found`,
		"logs.access[0] names no host", "logs.access[0]: file must", "databases[0] has no client", "two databases or more", `replicas.databases[0]: name "a b"`, "has no dsn_file", `url "localhost:6060"`, `no kind "trace"`, "either a command or external",
		"benchmark.score: no .a", "benchmark.fail: no .b", "benchmark.initialize"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	for text, want := range map[string]string{
		"name: a\nbenchmrk: {}\n":                           "benchmrk",
		"name: a\nbenchmark: {command: x, timeout: soon}\n": "not a duration",
		"name: a\n": "either a command or external",
		"- 1\n":     "",
		"name: a\nbenchmark: {command: x}\n" + strings.Repeat("#", 2<<20): "bytes",
	} {
		if _, err := project.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}
