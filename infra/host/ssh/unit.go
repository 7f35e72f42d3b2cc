package ssh

import (
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"isukit/infra/host"
)

// unitDir is where units of the administrator are.
const unitDir = "/etc/systemd/system/"

// startedDir is where a drop-in says of a unit that isukit has started it, and not a boot, after which it is gone: what ends then
// stays ended, so that it is seen, and not started again within a round.
const startedDir = "/run/systemd/system/"

func unitName(service string) string { return "isukit-" + service + ".service" }

// envFile holds a service's environment, which may have secrets: units can be read by everybody.
func envFile(service string) string { return remoteDir + "/.units/" + service + ".env" }

// Unit is the text of the systemd unit of a service, its drop-in with limits ("" for none) and its environment file. program is the
// absolute path of the service's program, dir the directory in which it starts unless the service has one. It is pure: since and the stamp
// are written into the unit, for later commands.
func Unit(s host.Service, program, dir string, since time.Time) (unit, dropIn, env string, err error) {
	for _, text := range append(append([]string{s.Name, s.User, s.Dir, s.LogFile, s.Stamp}, s.Argv...), s.Env...) {
		if strings.ContainsRune(text, 0) {
			return "", "", "", fmt.Errorf("%q has a zero byte", text)
		}
	}
	for _, text := range []string{s.User, s.Dir, s.LogFile, s.Stamp} {
		if strings.ContainsAny(text, "\r\n") {
			return "", "", "", fmt.Errorf("%q has more than one line", text)
		}
	}
	if s.Dir != "" {
		dir = s.Dir
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by isukit; it is replaced when the service is started, and removed with it.\n[Unit]\nDescription=isukit %s\n", specifiers(s.Name))
	fmt.Fprintf(&b, "X-Isukit-Since=%d\nX-Isukit-Stamp=%s\n", since.UnixNano(), s.Stamp)
	b.WriteString("Wants=network-online.target\nAfter=network-online.target")
	for _, name := range s.After {
		b.WriteString(" " + unitName(name))
	}
	fmt.Fprintf(&b, "\nRequiresMountsFor=%s\nStartLimitIntervalSec=0\n\n[Service]\nType=exec\nExecStart=%s", remoteDir, word(program))
	for _, arg := range s.Argv[1:] {
		b.WriteString(" " + word(arg))
	}
	fmt.Fprintf(&b, "\nWorkingDirectory=%s\nStandardInput=null\nStandardOutput=append:%s\nStandardError=inherit\n", specifiers(dir), specifiers(s.LogFile))
	if s.User != "" {
		fmt.Fprintf(&b, "User=%s\n", specifiers(s.User))
	}
	if len(s.Env) > 0 {
		fmt.Fprintf(&b, "EnvironmentFile=%s\n", specifiers(envFile(s.Name)))
	}
	// The caller of Stop decides how long to wait; a shutdown does not wait for longer than this. What a boot starts is tried until what it
	// needs is there; see startedDir for what isukit starts.
	fmt.Fprintf(&b, "KillMode=mixed\nKillSignal=%s\nTimeoutStopSec=90\nRestart=on-failure\nRestartSec=1\n\n[Install]\nWantedBy=multi-user.target\n", signalName(s.StopSignal))
	if s.NoFile > 0 {
		dropIn = "# systemd does not read /etc/security/limits.conf.\n[Service]\nLimitNOFILE=" + strconv.Itoa(s.NoFile) + "\n"
	}
	for _, assignment := range s.Env {
		name, value, ok := strings.Cut(assignment, "=")
		if !ok {
			return "", "", "", fmt.Errorf("environment %q is not KEY=value", name)
		}
		env += name + "=" + envQuote(value) + "\n"
	}
	return b.String(), dropIn, env, nil
}

func signalName(sig syscall.Signal) string {
	if sig == 0 {
		sig = syscall.SIGTERM
	}
	return unix.SignalName(sig)
}

// specifiers keeps systemd from reading % as the beginning of a specifier.
func specifiers(s string) string { return strings.ReplaceAll(s, "%", "%%") }

func word(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "$", "$$").Replace(s)
	return `"` + specifiers(s) + `"`
}

// envQuote is a value in an EnvironmentFile, which knows double quotes with backslashes, and lines within them.
func envQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(s) + `"`
}

// checkName refuses names that cannot be a unit's.
func checkName(s host.Service) error {
	if s.Name == "" || len(s.Name) > 100 || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
		return fmt.Errorf("%q cannot be the name of a service: want letters, digits, '-', '_' and '.'", s.Name)
	}
	if s.User != "" {
		if _, err := strconv.Atoi(s.User); err != nil && strings.ContainsAny(s.User, " \t/:") {
			return user.UnknownUserError(s.User)
		}
	}
	if len(s.Argv) == 0 {
		return fmt.Errorf("start %s: no program", s.Name)
	}
	return nil
}
