package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"isukit/bench/result"
	"isukit/cmd/internal/ui"
)

// completed are a shell's candidates after these words, without their descriptions.
func completed(t *testing.T, words ...string) []string {
	t.Helper()
	out, errs, code := cli(t, "", append([]string{cobra.ShellCompRequestCmd}, words...)...)
	if code != ui.ExitOK || strings.Contains(out, "ShellCompDirectiveError") {
		t.Errorf("%q: exit %d: %s%s", words, code, out, errs)
	}
	var list []string
	for line := range strings.Lines(out) {
		if value, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); value != "" && !strings.HasPrefix(value, ":") {
			list = append(list, value)
		}
	}
	return list
}

func TestCompletion(t *testing.T) {
	dir := t.TempDir()
	id := "20261122T200000Z-single"
	if _, err := result.Write(dir, &result.Round{Format: result.FormatVersion, ID: id, Passed: true}); err != nil {
		t.Fatal(err)
	}
	sshConfig := filepath.Join(dir, "ssh_config")
	if err := os.WriteFile(sshConfig, []byte("Host isu1 isu2 *.example\n  User isucon\nhost isu3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		words string // parted by spaces; the last one is being typed, "" where the text ends in a space
		want  []string
	}{
		{"rou", []string{"round", "routes"}},
		{"round -t ", []string{"single", "fanout-2", "final-1"}},
		{"round --topology fan", []string{"fanout-2", "fanout-3"}},
		{"topology apply fi", []string{"final-1", "final-4"}},
		{"topology diff single ", []string{"final-1"}},
		{"round --tune ", []string{"mysql/memory", "measure"}},
		{"round --tune mysql/memory,", []string{"mysql/memory,mysql/names"}},
		{"round --accept-risk ", []string{"mysql/doublewrite"}},
		{"tune show ", []string{"mysql/memory", "final"}},
		{"tune apply mysql/memory ng", []string{"nginx/keepalive"}},
		{"show --results " + dir + " ", []string{"last", "last-1", id}},
		{"diff --results " + dir + " last 2026", []string{id}},
		{"compare --results " + dir + " ", []string{"topology=single", "tune=mysql/memory", id}},
		{"doctor --only ", []string{"swap", "durability"}},
		{"doctor --results " + dir + " ", []string{"last", id}},
		{"types ", []string{"Team"}},
		{"decode --type Tea", []string{"Team"}},
		{"encode --type ", []string{"LoginRequest"}},
		{"decode --route ", []string{"POST /api/login"}},
		{"send ", []string{"POST /api/login"}},
		{"routes /api/lo", []string{"/api/login"}},
		{"capture --only-type Team,Log", []string{"Team,LoginRequest"}},
		{"capture --ssh-config " + sshConfig + " --host ", []string{"switch", "generator", "isu1", "isu2", "isu3"}},
		{"lab shell ", []string{"switch", "generator"}},
		{"replicas eject --replica db-1=a.dsn --replica db-2=b.dsn ", []string{"db-1", "db-2"}},
		{"round --engine ", []string{"auto", "mariadb", "mysql"}},
		{"topology apply --driver ", []string{"local", "lab", "ssh"}},
		{"round --scale s", []string{"small", "standard"}},
		{"round --shape ", []string{"grow", "users=", "ramp=", "steps=", "rate=", "capacity"}},
		{"round --arrivals ", []string{"even", "poisson"}},
		{"round --mix ", []string{"everyone", "audience"}},
		{"round --proxy ", []string{"nginx", "envoy"}},
		{"decode --in ", []string{"raw", "hex", "base64", "gzip"}},
		{"digest access --sort ", []string{"sum", "count", "p99", "max", "bytes"}},
		{"compare --metrics score,p", []string{"score,p50", "score,p99"}},
		{"replicas check --mode ", []string{"ordered", "replicated"}},
		{"completion ", []string{"bash", "zsh", "fish"}},
	} {
		got := completed(t, strings.Split(tt.words, " ")...)
		for _, want := range tt.want {
			if !slices.Contains(got, want) {
				t.Errorf("%q: %q lack %q", tt.words, got, want)
			}
		}
		for _, value := range got {
			if slices.Contains(got, tt.words[strings.LastIndexByte(tt.words, ' ')+1:]) {
				t.Errorf("%q: %q is typed already", tt.words, value)
			}
		}
	}
	for _, words := range []string{"ls ", "show --results " + dir + " last ", "version "} {
		if got := completed(t, strings.Split(words, " ")...); len(got) != 0 {
			t.Errorf("%q: got %q, want nothing", words, got)
		}
	}
}

// TestFixedValuesAreTaken holds what shells offer for flags against what commands take.
func TestFixedValuesAreTaken(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "db.dsn")
	if err := os.WriteFile(dsn, []byte("user:password@tcp(127.0.0.1:1)/portal"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(filepath.Dir(dsn), "access.log")
	write(t, log, `127.0.0.1 - - [30/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "-"`+"\n")
	for flag, args := range map[string][]string{
		"engine": {"round", "--duration", "0s"}, "proxy": {"round", "--duration", "0s"}, "scale": {"round", "--duration", "0s"},
		"arrivals": {"round", "--duration", "0s", "--shape", "rate=10"}, "mix": {"round", "--duration", "0s"}, "in": {"decode", "--type", "Team"},
		"sort": {"digest", "access", log}, "out": {"encode", "--type", "Team"}, "mode": {"replicas", "status", "--replica", "a=" + dsn, "--replica", "b=" + dsn},
		"metrics": {"compare", "a", "b"},
	} {
		for _, value := range fixedValues[flag] {
			_, errs, _ := cli(t, "", append(slices.Clone(args), "--"+flag, value)...)
			if strings.Contains(errs, "--"+flag) || strings.Contains(errs, "does not exist") || strings.Contains(errs, value+`"`) {
				t.Errorf("--%s %s is refused: %s", flag, value, errs)
			}
		}
		_, errs, code := cli(t, "", append(slices.Clone(args), "--"+flag, "nonsense")...)
		if code != ui.ExitUsage || !strings.Contains(errs, "nonsense") && !strings.Contains(errs, "--"+flag) {
			t.Errorf("--%s nonsense is not refused: exit %d, %s", flag, code, errs)
		}
	}
}

// TestCompletionScripts holds that the scripts of all three shells are made, and that bash takes its own.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		out, errs, code := cli(t, "", "completion", shell)
		if code != ui.ExitOK || !strings.Contains(out, "isukit") || len(out) < 1000 {
			t.Errorf("%s: exit %d, %d bytes, %s", shell, code, len(out), errs)
		}
	}
}
