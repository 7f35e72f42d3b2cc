package doctor

import (
	"encoding/binary"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"isukit/infra/engine/nginx"
	"isukit/input/yaml"
)

var (
	grantExpr = regexp.MustCompile(`(?i)\bGRANT\b[^;]{0,400}?\bIDENTIFIED\s+(?:BY|WITH)\b`)
	cacheExpr = regexp.MustCompile(`(?i)\bSET\s+(?:GLOBAL|PERSIST|@@global\.)\s*query_cache_\w+`)
)

// grantIdentified finds in SQL what MySQL 8 refuses and MariaDB takes.
func grantIdentified(o *Observed, add func(Finding)) {
	for _, f := range o.Files {
		if !hasSuffix(f.Path, ".sql", ".sh", ".go", ".yml", ".yaml") {
			continue
		}
		for _, at := range grantExpr.FindAllIndex(f.Text, -1) {
			add(Finding{Severity: Warn, Subject: place(f, at[0]),
				Seen: "GRANT ... IDENTIFIED BY: MySQL 8 and later refuse it (error 1064); MariaDB takes it",
				Fix:  "CREATE USER IF NOT EXISTS 'USER'@'HOST' IDENTIFIED BY '...'; GRANT ... TO 'USER'@'HOST';"})
		}
		for _, at := range cacheExpr.FindAllIndex(f.Text, -1) {
			add(Finding{Severity: Warn, Subject: place(f, at[0]),
				Seen: "the query cache is set: MySQL 8 and later have none (error 1193); MariaDB does",
				Fix:  "cache in the app or the proxy; isukit tune show mysql/query-cache describes MariaDB's"})
		}
	}
}

type manifest struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		TargetRef struct {
			Kind string `yaml:"kind"`
			Name string `yaml:"name"`
		} `yaml:"targetRef"`
		ResourcePolicy struct {
			ContainerPolicies []containerPolicy `yaml:"containerPolicies"`
		} `yaml:"resourcePolicy"`
		UpdatePolicy struct {
			UpdateMode string `yaml:"updateMode"`
		} `yaml:"updatePolicy"`
		Template struct {
			Spec struct {
				Containers []container `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
	file File
}

type containerPolicy struct {
	ContainerName    string `yaml:"containerName"`
	ControlledValues string `yaml:"controlledValues"`
	Mode             string `yaml:"mode"`
}

type container struct {
	Name      string `yaml:"name"`
	Resources struct {
		Limits   map[string]any `yaml:"limits"`
		Requests map[string]any `yaml:"requests"`
	} `yaml:"resources"`
}

// manifests are the Kubernetes objects of the files. Others report invalid YAML.
func manifests(files []File) []manifest {
	var list []manifest
	for _, f := range files {
		if !hasSuffix(f.Path, ".yaml", ".yml") {
			continue
		}
		for _, text := range regexp.MustCompile(`(?m)^---.*$`).Split(string(f.Text), -1) {
			m := manifest{file: f}
			if err := yaml.Decode([]byte(text), &m); err == nil && m.Kind != "" {
				list = append(list, m)
			}
		}
	}
	return list
}

// vpaLimits finds containers with limits and without requests under a VerticalPodAutoscaler that controls both: it then sets
// the limit to what it recommends for the request, which leaves nothing for a burst.
func vpaLimits(o *Observed, add func(Finding)) {
	all := manifests(o.Files)
	for _, vpa := range all {
		if vpa.Kind != "VerticalPodAutoscaler" || vpa.Spec.UpdatePolicy.UpdateMode == "Off" {
			continue
		}
		for _, m := range all {
			if m.Kind != vpa.Spec.TargetRef.Kind || m.Metadata.Name != vpa.Spec.TargetRef.Name {
				continue
			}
			for _, c := range m.Spec.Template.Spec.Containers {
				for _, resource := range []string{"cpu", "memory"} {
					_, limited := c.Resources.Limits[resource]
					_, requested := c.Resources.Requests[resource]
					if !limited || requested || !vpa.controlsLimits(c.Name) {
						continue
					}
					add(Finding{Severity: Warn, Subject: fmt.Sprintf("%s (%s %s, container %s)", m.file.Path, m.Kind, m.Metadata.Name, c.Name),
						Seen: fmt.Sprintf("it has a limit of %s (%v) and no request: the VPA %s will set the limit to the recommended request, without room at start-up (out of memory, throttled)", resource, c.Resources.Limits[resource], vpa.Metadata.Name),
						Fix:  "add resources.requests." + resource + ", or controlledValues: RequestsOnly to the VPA's containerPolicies"})
				}
			}
		}
	}
}

func (m manifest) controlsLimits(name string) bool {
	for _, wanted := range []string{name, "*"} {
		for _, p := range m.Spec.ResourcePolicy.ContainerPolicies {
			if p.ContainerName == wanted {
				return p.Mode != "Off" && p.ControlledValues != "RequestsOnly"
			}
		}
	}
	return true
}

// serviceAccount finds in a unified diff of manifests a serviceAccountName that is taken out: applying that resets nothing.
func serviceAccount(o *Observed, add func(Finding)) {
	for _, f := range o.Files {
		if !hasSuffix(f.Path, ".diff", ".patch") {
			continue
		}
		for _, hunk := range strings.Split("\n"+string(f.Text), "\n@@")[1:] {
			removed, added := "", false
			for line := range strings.Lines(hunk) {
				text := strings.TrimSpace(strings.TrimLeft(line, "+-"))
				if value, ok := strings.CutPrefix(text, "serviceAccountName:"); ok {
					added = added || strings.HasPrefix(line, "+")
					if strings.HasPrefix(line, "-") {
						removed = strings.TrimSpace(value)
					}
				}
			}
			if removed != "" && !added && removed != "default" {
				add(Finding{Severity: Warn, Subject: f.Path,
					Seen: fmt.Sprintf("serviceAccountName: %s is taken out; apply leaves it as it is, since the API keeps a copy in serviceAccount", removed),
					Fix:  "write serviceAccountName: default"})
			}
		}
	}
}

// grpcFrame finds bodies that have gRPC's five bytes before the message, and gRPC responses where plain protobuf is expected. A file is a
// body, or a response with its headers as curl -i writes it.
func grpcFrame(o *Observed, add func(Finding)) {
	for _, f := range o.Files {
		head, body := splitHead(f.Text)
		if !hasSuffix(f.Path, ".bin", ".pb", ".http", ".body") {
			continue
		}
		contentType := headerOf(head, "content-type")
		framed := isFrame(body)
		say := func(seen, fix string) { add(Finding{Severity: Warn, Subject: f.Path, Seen: seen, Fix: fix}) }
		switch {
		case strings.HasPrefix(contentType, "application/grpc") && strings.HasPrefix(head, "HTTP/1"):
			say(fmt.Sprintf("content-type %s over HTTP/1.1: gRPC needs HTTP/2", contentType), "curl --http2-prior-knowledge, or application/x-protobuf without the five bytes before the message")
		case strings.HasPrefix(contentType, "application/grpc") && len(body) > 0 && !framed:
			say(fmt.Sprintf("content-type %s, but no gRPC frame before the message", contentType), "content-type: application/x-protobuf   # for plain messages: isukit decode and curl, not grpcurl")
		case framed && !strings.HasPrefix(contentType, "application/grpc"):
			say(fmt.Sprintf("the body begins with a gRPC frame (%d bytes follow, compressed: %t): plain protobuf has none", len(body)-5, body[0] == 1), "tail -c +6 BODY | isukit decode   # where it is gRPC, use grpcurl")
		}
	}
}

// splitHead parts an answer's head from its body; the head is "" where there is none.
func splitHead(text []byte) (head string, body []byte) {
	if !strings.HasPrefix(string(text), "HTTP/") {
		return "", text
	}
	head, rest, ok := strings.Cut(string(text), "\r\n\r\n")
	if !ok {
		head, rest, _ = strings.Cut(string(text), "\n\n")
	}
	return head, []byte(rest)
}

func headerOf(head, name string) string {
	for line := range strings.Lines(head) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(k), name) {
			return strings.ToLower(strings.TrimSpace(v))
		}
	}
	return ""
}

// isFrame: a byte for compression, the length in four bytes, and that many bytes.
func isFrame(body []byte) bool {
	return len(body) >= 5 && body[0] <= 1 && int64(binary.BigEndian.Uint32(body[1:5])) == int64(len(body)-5)
}

// tlsDecrypt finds configurations under which a private key cannot decrypt a capture.
func tlsDecrypt(o *Observed, add func(Finding)) {
	for _, f := range o.Files {
		if !hasSuffix(f.Path, ".conf") || !strings.Contains(string(f.Text), "ssl_certificate_key") {
			continue
		}
		protocols, ciphers, line := "", "", 0
		directives, err := nginx.Parse(string(f.Text))
		if err != nil {
			continue // nginx does not take it
		}
		eachDirective(directives, func(d nginx.Directive) {
			switch d.Name {
			case "ssl_protocols":
				protocols, line = strings.Join(d.Args, " "), d.Line
			case "ssl_ciphers":
				ciphers = strings.Join(d.Args, " ")
			}
		})
		if protocols != "" && !strings.Contains(protocols, "TLSv1.3") && staticRSA(ciphers) {
			continue
		}
		why := "TLS 1.3 is on (nginx has it by default)"
		if protocols != "" && !strings.Contains(protocols, "TLSv1.3") {
			why = "ciphers with ephemeral keys (ECDHE, DHE) are allowed"
		}
		subject := f.Path
		if line > 0 {
			subject = fmt.Sprintf("%s:%d", f.Path, line)
		}
		add(Finding{Severity: Note, Subject: subject, Seen: why + ": the server's private key cannot decrypt a capture",
			Fix: "isukit round --keylog FILE, or SSLKEYLOGFILE of the client; or capture behind the proxy; last resort: ssl_protocols TLSv1.2; ssl_ciphers AES128-SHA;"})
	}
}

func staticRSA(ciphers string) bool {
	if ciphers == "" {
		return false
	}
	for _, c := range strings.FieldsFunc(ciphers, func(r rune) bool { return r == ':' || r == ' ' }) {
		if !strings.HasPrefix(c, "AES") && !strings.HasPrefix(c, "RSA") && !strings.HasPrefix(c, "CAMELLIA") && !strings.HasPrefix(c, "!") {
			return false
		}
	}
	return true
}

func eachDirective(list []nginx.Directive, fn func(nginx.Directive)) {
	for _, d := range list {
		fn(d)
		eachDirective(d.Children, fn)
	}
}

var importExpr = regexp.MustCompile(`(?m)^\s*import\s+(?:public\s+|weak\s+)?"([^"]+)"\s*;`)

// protoImports finds imports of .proto files that no root among the given files makes resolve: Wireshark and protoc then show
// bytes. Roots are the lines of a Wireshark preference file, or the directories from which some import does resolve.
func protoImports(o *Observed, add func(Finding)) {
	var protos []string
	for _, f := range o.Files {
		if strings.HasSuffix(f.Path, ".proto") {
			protos = append(protos, path.Clean(f.Path))
		}
	}
	for _, prefs := range o.Files {
		if path.Base(prefs.Path) != "protobuf_search_paths" {
			continue
		}
		roots := searchPaths(string(prefs.Text))
		for _, f := range o.Files {
			if !strings.HasSuffix(f.Path, ".proto") || !below(f.Path, roots) {
				continue
			}
			for _, m := range importExpr.FindAllStringSubmatch(string(f.Text), -1) {
				if strings.HasPrefix(m[1], "google/protobuf/") || slices.ContainsFunc(roots, func(r string) bool { return slices.Contains(protos, path.Join(r, m[1])) }) {
					continue
				}
				for _, p := range protos {
					if root, ok := strings.CutSuffix(p, "/"+m[1]); ok {
						add(Finding{Severity: Warn, Subject: prefs.Path,
							Seen: fmt.Sprintf("%s imports %q, which no search path makes resolve: Wireshark shows its messages as bytes", f.Path, m[1]),
							Fix:  fmt.Sprintf("add the line: %q,\"TRUE\"", root)})
						break
					}
				}
			}
		}
	}
}

// searchPaths are those of a Wireshark preference file: "PATH","TRUE" on each line.
func searchPaths(text string) []string {
	var roots []string
	for line := range strings.Lines(text) {
		if first, _, ok := strings.Cut(strings.TrimSpace(line), ","); ok && strings.HasPrefix(first, `"`) {
			roots = append(roots, path.Clean(strings.Trim(first, `"`)))
		}
	}
	return roots
}

func below(file string, roots []string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return strings.HasPrefix(path.Clean(file), r+"/") })
}

// Reads tells whether any check reads files of this name.
func Reads(file string) bool {
	return hasSuffix(file, ".sql", ".sh", ".go", ".rb", ".py", ".js", ".ts", ".php", ".rs", ".pl", ".java", ".yaml", ".yml", ".diff", ".patch", ".conf", ".bin", ".pb",
		".http", ".body", ".proto") || path.Base(file) == "protobuf_search_paths"
}
