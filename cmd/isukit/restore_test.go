package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/bench/result"
)

// TestRestore goes back to the commit of a round, by a plan first, and refuses what a hostile record names.
func TestRestore(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@b.example"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q")
	var hashes []string
	for _, text := range []string{"one", "two"} {
		write(t, filepath.Join(dir, "app.txt"), text)
		git("add", ".")
		git("commit", "-qm", text)
		hashes = append(hashes, git("rev-parse", "HEAD"))
	}
	var out, errs bytes.Buffer
	s := streams{in: strings.NewReader(""), out: &out, err: &errs}
	r := &result.Round{ID: "x", Facts: []result.Fact{{Key: "commit", Value: hashes[0] + " one"}, {Key: "topology", Value: "single"}, {Key: "tunings", Value: "sysctl/ports, mysql/memory"}}}
	if err := runRestore(t.Context(), r, dir, false, s); err != nil || git("rev-parse", "HEAD") != hashes[1] {
		t.Fatalf("the plan alone: %v, HEAD is %s", err, git("rev-parse", "HEAD"))
	}
	want := "git -C " + dir + " checkout --detach " + hashes[0] + "\nisukit topology apply single\nisukit tune apply sysctl/ports mysql/memory\n"
	if out.String() != want {
		t.Errorf("the plan is\n%s\nwant\n%s", out.String(), want)
	}
	r.Facts = r.Facts[:1]
	write(t, filepath.Join(dir, "app.txt"), "changed")
	if err := runRestore(t.Context(), r, dir, true, s); err == nil || !strings.Contains(err.Error(), "uncommitted changes") {
		t.Errorf("over changes: %v", err)
	}
	git("checkout", "-q", "app.txt")
	if err := runRestore(t.Context(), r, dir, true, s); err != nil || git("rev-parse", "HEAD") != hashes[0] {
		t.Errorf("%v: HEAD is %s, want %s", err, git("rev-parse", "HEAD"), hashes[0])
	}
	if text, err := os.ReadFile(filepath.Join(dir, "app.txt")); err != nil || string(text) != "one" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	for _, f := range []result.Fact{{Key: "commit", Value: "--upload-pack=touch"}, {Key: "topology", Value: "--driver=ssh"}, {Key: "tunings", Value: "a, --yes"}} {
		if plan, err := restorePlan(&result.Round{Facts: []result.Fact{f}}, dir); err == nil {
			t.Errorf("%s %q makes the plan %q", f.Key, f.Value, plan)
		}
	}
}
