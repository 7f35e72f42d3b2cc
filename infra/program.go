package infra

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"isukit/infra/dbserver"
	"isukit/infra/topology"
)

// streamModules are where distributions put nginx's module stream.
const streamModules = "/usr/lib*/nginx/modules/ngx_stream_module.so"

// StreamModule finds nginx's module stream on this machine: its path, or "" where nginx has it built in.
func StreamModule() (string, error) {
	nginx, err := findProgram("nginx", "make setup")
	if err != nil {
		return "", err
	}
	out, err := exec.Command(nginx, "-V").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask nginx what it is made of: %w", err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if word == "--with-stream" {
			return "", nil
		}
	}
	found, err := filepath.Glob(streamModules)
	if err != nil || len(found) == 0 {
		return "", &HintError{fmt.Errorf("nginx has no module stream (not built in, nor %s)", streamModules), "apt-get install libnginx-mod-stream"}
	}
	return found[0], nil
}

// findProgram looks on PATH, in the directories that users do not have there, and at more paths.
func findProgram(name, hint string, more ...string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	places := append([]string{"/usr/local/sbin/" + name, "/usr/sbin/" + name}, more...)
	for _, p := range places {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", &HintError{fmt.Errorf("%s is not installed (not on PATH, nor %s)", name, strings.Join(places, ", ")), hint}
}

// proxyProgram finds the program of a kind of proxy on this machine, which is called as the kind is.
func (s Spec) proxyProgram(kind topology.Kind) (string, error) {
	if kind == topology.Envoy {
		return findEnvoy(s.LocalDir, "make envoy, or --proxy nginx in its place")
	}
	return findProgram(string(kind), "make setup")
}

// findEnvoy looks where make envoy puts it, too.
func findEnvoy(localDir, hint string) (string, error) {
	if localDir == "" {
		return findProgram("envoy", hint)
	}
	return findProgram("envoy", hint, filepath.Join(localDir, "envoy/bin/envoy"))
}

// HasEnvoy tells that this machine has an Envoy, or LocalDir.
func (s Spec) HasEnvoy() bool {
	_, err := findEnvoy(s.LocalDir, "")
	return err == nil
}

// findServer finds the database server that a topology asks for.
func findServer(ctx context.Context, t *topology.Topology, localDir string) (dbserver.Install, error) {
	engine := dbserver.Engine(t.Of(topology.DB)[0].Kind)
	in, err := dbserver.Find(ctx, engine, localDir)
	if errors.Is(err, dbserver.ErrNotFound) {
		hint := "make setup"
		if engine == dbserver.MySQL {
			hint = "make mysql"
		}
		return in, &HintError{err, hint}
	}
	return in, err
}
