package ssh_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isukit/infra/host"
	"isukit/infra/team"
)

// toolScript gives a host a repository with a package, and one that it needs, instead of the host's own.
const toolScript = `set -e
mkdir -p /var/lib/repo
cd /var/lib/repo
for name in tool lib; do
	mkdir -p $name/DEBIAN $name/etc
	echo works >$name/etc/isukit-test-$name
	{ printf 'Package: isukit-test-%s\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: test\n' $name
	[ $name = lib ] || echo 'Depends: isukit-test-lib'; } >$name/DEBIAN/control
	dpkg-deb --build --root-owner-group $name $name.deb >/dev/null
	cat $name/DEBIAN/control
	printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' $name "$(stat -c %s $name.deb)" "$(sha256sum $name.deb | cut -d' ' -f1)"
done >Packages
chmod 755 /var/lib/repo; chmod 644 Packages *.deb
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/var/lib/repo ./' >/etc/apt/sources.list
`

// stateScript prints what must be the same after Init and its revert.
const stateScript = `cat /etc/passwd /etc/group /etc/shadow; ls -R /home /etc/sudoers.d /etc/ssh/ssh_config.d /var/lib/isukit-team 2>&1; dpkg -l 2>/dev/null; ls /etc/isukit-test-tool 2>&1; true`

// teamInit makes an account, with a key by which it logs in and becomes root, ssh config and a tool on a bare host, and takes
// them back: the host is as it was.
func teamInit(t *testing.T, dir string) {
	_, h := up(t, dir, "b")
	run := func(script string) string {
		t.Helper()
		res, err := h.Run(t.Context(), host.Command{Argv: []string{"sh", "-c", script}, Dir: "/"})
		if err != nil || res.Code != 0 {
			t.Fatalf("%s: %v: %s", script, err, res.Stderr)
		}
		return string(res.Stdout)
	}
	run(toolScript)
	before := run(stateScript)
	public, err := os.ReadFile(filepath.Join(dir, "other.pub"))
	if err != nil {
		t.Fatal(err)
	}
	want := []team.Item{
		{Kind: team.User, Name: "alice"}, {Kind: team.Key, Name: "alice", Text: strings.TrimSpace(string(public))}, {Kind: team.Sudo, Name: "alice"},
		{Kind: team.Tool, Name: "isukit-test-tool"}, {Kind: team.Config, Name: "50-isukit.conf", Text: "Host s9\n\tHostName 192.0.2.9\n"},
	}
	initWants(t, h, want, team.Options{DryRun: true}, "made made made made made")
	if now := run(stateScript); now != before {
		t.Errorf("a dry run changed\n%s\nto\n%s", before, now)
	}
	if _, err := team.Init(t.Context(), h, []team.Item{{Kind: team.Tool, Name: "isukit-no-such"}}, team.Options{}); err == nil || !strings.Contains(err.Error(), "isukit-no-such") {
		t.Errorf("a package that apt does not have: got %v, want its name", err)
	}
	if list, err := team.Inventory(t.Context(), h); err != nil || len(list) > 0 {
		t.Errorf("the record after a package that apt does not have: got %v, %v; want nothing", list, err)
	}
	initWants(t, h, want, team.Options{}, "made made made made made")
	out, err := exec.Command("ssh", "-T", "-F", filepath.Join(dir, "config"), "-o", "BatchMode=yes", "alice", "sudo -n id -u; cat /etc/isukit-test-tool; ssh -G s9 | grep ^hostname").Output() // ssh has words of its own for stderr
	if err != nil || string(out) != "0\nworks\nhostname 192.0.2.9\n" {
		t.Errorf("alice sees %q, %v; want to be root, with the tool, and to know s9", out, err)
	}
	initWants(t, h, want, team.Options{}, "made earlier made earlier made earlier made earlier made earlier")
	want[4].Text = "Host s9\n\tHostName 192.0.2.10\n"
	initWants(t, h, want[4:], team.Options{}, "made")
	run("echo '# mine' >>/etc/ssh/ssh_config.d/50-isukit.conf")
	want[4].Text += "\n"
	if _, err := team.Init(t.Context(), h, want[4:], team.Options{}); !errors.Is(err, team.ErrForeign) {
		t.Errorf("Init over what someone else changed: got %v, want ErrForeign", err)
	}
	initWants(t, h, want[4:], team.Options{Force: true}, "made")
	initWants(t, h, []team.Item{{Kind: team.User, Name: "isucon"}}, team.Options{}, "there already")
	// A package that an earlier isukit has begun, and that apt lacks, can be reverted.
	begun := want[3]
	begun.Name = "isukit-no-such"
	list, err := team.Inventory(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(append(list, begun))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Put(t.Context(), "/var/lib/isukit-team/inventory.json", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if done, err := team.Revert(t.Context(), h, nil); err != nil || len(done) != len(want)+1 {
		t.Errorf("Revert: got %v, %v; want all taken back", done, err)
	}
	if now := run(stateScript); now != before {
		t.Errorf("the host was\n%s\nand is\n%s", before, now)
	}
	if list, err := team.Inventory(t.Context(), h); err != nil || len(list) > 0 {
		t.Errorf("the record: got %v, %v; want nothing", list, err)
	}
}

func initWants(t *testing.T, h host.Host, items []team.Item, o team.Options, want string) {
	t.Helper()
	done, err := team.Init(t.Context(), h, items, o)
	var got []string
	for _, c := range done {
		got = append(got, c.What)
	}
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("Init: got %q, %v; want %q", fmt.Sprint(got), err, want)
	}
}
