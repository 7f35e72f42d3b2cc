package infratest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Listening lists the TCP sockets of this network namespace that listen and belong to a process with dir in its environment,
// its command line or as its directory: what tests beside this one do is not among them.
func Listening(tb testing.TB, dir string) []string {
	tb.Helper()
	ours := socketsOf(func(proc string) bool {
		for _, file := range []string{"environ", "cmdline"} {
			if text, err := os.ReadFile(filepath.Join(proc, file)); err == nil && strings.Contains(string(text), dir) {
				return true
			}
		}
		cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
		return err == nil && strings.HasPrefix(cwd+"/", dir+"/")
	})
	var found []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			tb.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && ours["socket:["+f[9]+"]"] { // TCP_LISTEN
				found = append(found, f[1])
			}
		}
	}
	return found
}

// socketsOf are the sockets of the processes that match, as links in /proc name them.
func socketsOf(match func(proc string) bool) map[string]bool {
	sockets := map[string]bool{}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range processes {
		if !match(p) {
			continue
		}
		files, _ := filepath.Glob(filepath.Join(p, "fd", "*"))
		for _, f := range files {
			if target, err := os.Readlink(f); err == nil {
				sockets[target] = true
			}
		}
	}
	return sockets
}
