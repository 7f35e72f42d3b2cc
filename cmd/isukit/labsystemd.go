package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
	"isukit/infra/host"
	"isukit/infra/host/machine"
)

// labServers are hosts of the lab that boot systemd, with the directory of what logs in to them: a key, known_hosts and an ssh_config.
type labServers struct {
	dir, tree string
}

// serversOf are those of a state directory. What is not there yet is made by keys.
func serversOf(stateDir, localDir string) labServers {
	return labServers{filepath.Join(stateDir, "lab-ssh"), filepath.Join(round.LocalDir(localDir), "hosts")}
}

func (l labServers) file(name string) string { return filepath.Join(l.dir, name) }

// system has hosts boot, to be logged in to with a key that is made the first time.
func (l labServers) system() (*machine.System, error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(l.file("id.pub")); errors.Is(err, os.ErrNotExist) {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "isukit lab", "-f", l.file("id")).CombinedOutput(); err != nil {
			return nil, ui.Hinted(fmt.Errorf("make a key: %w: %s", err, out), "install openssh-client")
		}
	}
	key, err := os.ReadFile(l.file("id.pub"))
	return &machine.System{Tree: l.tree, Keys: string(key)}, err
}

func (l labServers) write(ctx context.Context, lab *machine.Driver) error {
	wants, err := lab.Hosts(ctx)
	if err != nil {
		return err
	}
	var known, config strings.Builder
	for _, w := range wants {
		h, err := lab.Host(w.Name)
		if err != nil {
			return err
		}
		key, err := host.Output(ctx, h, "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
		if err != nil {
			return err
		}
		fmt.Fprintf(&known, "%s %s", h.About().Address, key)
		fmt.Fprintf(&config, "Host %s %s\n  HostName %s\n", h.About().Address, w.Name, h.About().Address)
	}
	fmt.Fprintf(&config, "Host *\n  User isucon\n  IdentityFile %q\n  IdentitiesOnly yes\n  UserKnownHostsFile %q\n  GlobalKnownHostsFile none\n", l.file("id"), l.file("known_hosts"))
	return errors.Join(os.WriteFile(l.file("known_hosts"), []byte(known.String()), 0o600), os.WriteFile(l.file("config"), []byte(config.String()), 0o600))
}

// next places a topology on the hosts, from the place of the load generator, which is the user's laptop.
func (l labServers) next(topology string) string {
	return "isukit lab run generator -- env ISUKIT_SSH_CONFIG=" + shellWord(l.file("config")) + " isukit topology apply " + shellWord(topology) + " --driver ssh"
}
