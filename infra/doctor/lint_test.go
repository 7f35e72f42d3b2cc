package doctor_test

import (
	"testing"

	"isukit/infra/doctor"
	"isukit/infra/engine/mysql"
	"isukit/infra/infratest"
)

// TestLints: what a file shows alone, with correct files next to it.
func TestLints(t *testing.T) {
	const vpa = `apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: app-vpa}
spec:
  targetRef: {kind: Deployment, name: app}
`
	deployment := func(resources string) string {
		return "kind: Deployment\nmetadata: {name: app}\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        resources: " + resources + "\n---\n" + vpa
	}
	diff := func(lines string) string {
		return "--- a/app.yaml\n+++ b/app.yaml\n@@ -10,4 +10,3 @@\n     spec:\n" + lines + "       containers:\n"
	}
	const key = "ssl_certificate a; ssl_certificate_key b;"
	for name, c := range map[string]struct {
		id, file, text string
		more           []doctor.File
		want           doctor.Severity // "": silence
		words          []string
		fix            string
	}{
		"grant":                 {id: "grant-identified-by", file: "init.sql", text: "use d;\ngrant all on d.*\n to 'isu'@'%' identified by 'x';", want: doctor.Warn, words: []string{"init.sql:2", "1064"}, fix: "CREATE USER IF NOT EXISTS"},
		"create and grant":      {id: "grant-identified-by", file: "init.sql", text: "GRANT ALL ON d.* TO 'isu'@'%'; CREATE USER 'x' IDENTIFIED BY 'y';"},
		"query cache":           {id: "grant-identified-by", file: "tune.sql", text: "SET GLOBAL query_cache_size = 1;", want: doctor.Warn, words: []string{"1193"}},
		"json in go":            {id: "json-contains", file: "a.go", text: "x\ndb.Query(`SELECT 1 FROM t WHERE JSON_CONTAINS(tags, ?)`, tag)", want: doctor.Warn, words: []string{"a.go:2"}, fix: "JSON_QUOTE(?)"},
		"quoted json in go":     {id: "json-contains", file: "a.go", text: "db.Query(`WHERE JSON_CONTAINS(tags, JSON_QUOTE(?)) AND JSON_CONTAINS(a, CAST(? AS JSON)) AND JSON_CONTAINS(a, '[1]')`)"},
		"limit without request": {id: "vpa-limits", file: "k.yaml", text: deployment("{limits: {memory: 1Gi}}"), want: doctor.Warn, words: []string{"container web", "app-vpa", "1Gi"}, fix: "resources.requests.memory"},
		"limit and request":     {id: "vpa-limits", file: "k.yaml", text: deployment("{limits: {memory: 1Gi}, requests: {memory: 256Mi}}")},
		"requests only": {id: "vpa-limits", file: "k.yaml", text: deployment("{limits: {memory: 1Gi}}") +
			"  resourcePolicy: {containerPolicies: [{containerName: '*', controlledValues: RequestsOnly}]}\n"},
		"account taken out":  {id: "service-account", file: "c.diff", text: diff("-      serviceAccountName: old-account\n"), want: doctor.Warn, words: []string{"old-account"}, fix: "serviceAccountName: default"},
		"account replaced":   {id: "service-account", file: "c.diff", text: diff("-      serviceAccountName: old\n+      serviceAccountName: default\n")},
		"tls by default":     {id: "tls-decrypt", file: "n.conf", text: "server { listen 443 ssl; " + key + " }", want: doctor.Note, words: []string{"TLS 1.3"}, fix: "--keylog"},
		"ephemeral keys":     {id: "tls-decrypt", file: "n.conf", text: "server { " + key + "\nssl_protocols TLSv1.2; }", want: doctor.Note, words: []string{"n.conf:2", "ephemeral"}},
		"static keys":        {id: "tls-decrypt", file: "n.conf", text: "server { " + key + " ssl_protocols TLSv1.2; ssl_ciphers AES128-SHA:AES256-SHA; }"},
		"no tls":             {id: "tls-decrypt", file: "n.conf", text: "server { listen 80; }"},
		"a frame":            {id: "grpc-frame", file: "b.bin", text: "\x00\x00\x00\x00\x03\x0a\x01x", want: doctor.Warn, words: []string{"3 bytes follow"}, fix: "tail -c +6"},
		"a message":          {id: "grpc-frame", file: "b.bin", text: "\x0a\x03abc"},
		"grpc without frame": {id: "grpc-frame", file: "b.http", text: "HTTP/2 200\r\nContent-Type: application/grpc\r\n\r\n\x0a\x03abc", want: doctor.Warn, words: []string{"no gRPC frame"}},
		"grpc over http/1.1": {id: "grpc-frame", file: "b.http", text: "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n\r\n\x00\x00\x00\x00\x03\x0a\x01x", want: doctor.Warn, words: []string{"needs HTTP/2"}},
		"protobuf":           {id: "grpc-frame", file: "b.http", text: "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\r\n\x0a\x03abc"},
		"a wrong root": {id: "proto-import", file: "protobuf_search_paths", text: "# comment\n\"/p/proto/sub\",\"TRUE\"\n", more: protos, want: doctor.Warn,
			words: []string{`"sub/base.proto"`}, fix: `"/p/proto","TRUE"`},
		"the right root": {id: "proto-import", file: "protobuf_search_paths", text: "\"/p/proto\",\"TRUE\"\n", more: protos},
	} {
		t.Run(name, func(t *testing.T) {
			o := &doctor.Observed{Files: append([]doctor.File{{Path: c.file, Text: []byte(c.text)}}, c.more...)}
			found := diagnose(t, c.id, o)
			if c.want == "" {
				wantSilence(t, name, found)
				return
			}
			wantFinding(t, name, found, c.want, c.fix, c.words...)
		})
	}
}

var protos = []doctor.File{
	{Path: "/p/proto/sub/m.proto", Text: []byte("syntax = \"proto3\";\nimport \"sub/base.proto\";\nimport \"google/protobuf/timestamp.proto\";\n")},
	{Path: "/p/proto/sub/base.proto", Text: []byte("syntax = \"proto3\";\n")},
}

// TestLintedStatementsAreRefused asks both engines about what the lints say of them.
func TestLintedStatementsAreRefused(t *testing.T) {
	t.Parallel()
	for _, engine := range infratest.Engines(t) {
		db := infratest.StartDB(t, engine)
		db.Exec(t, "CREATE DATABASE d")
		q := mysql.SQL{DB: db.Open(t, "")}
		for _, statement := range []string{"GRANT ALL ON d.* TO 'isu'@'%' IDENTIFIED BY 'x'", "SET GLOBAL query_cache_size = 1048576"} {
			o := &doctor.Observed{Files: []doctor.File{{Path: "a.sql", Text: []byte(statement + ";")}}}
			if found := diagnose(t, "grant-identified-by", o); len(found) != 1 {
				t.Errorf("%s: %v", statement, found)
			}
			if _, err := q.Query(t.Context(), statement); (err != nil) != (engine == "mysql") {
				t.Errorf("%s says of %s: %v", engine, statement, err)
			}
		}
	}
}

// TestSelect: every check has an id of its own and a sentence, and what is not there is an error.
func TestSelect(t *testing.T) {
	ids := map[string]bool{}
	for _, c := range doctor.Checks() {
		if ids[c.ID] || c.About == "" {
			t.Errorf("check %q is there twice, or without a sentence", c.ID)
		}
		ids[c.ID] = true
	}
	if list, err := doctor.Select(doctor.Checks(), []string{"swap", "clock"}, []string{"clock"}); err != nil || len(list) != 1 || list[0].ID != "swap" {
		t.Errorf("swap and clock without clock: %v %v", list, err)
	}
	if _, err := doctor.Select(doctor.Checks(), nil, []string{"swapp"}); err == nil {
		t.Error("a check that is not there is skipped")
	}
	if found := doctor.Diagnose(&doctor.Observed{}, doctor.Checks()); len(found) > 0 {
		t.Errorf("found in nothing: %v", found)
	}
}
