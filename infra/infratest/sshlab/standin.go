package sshlab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The stand-in for systemctl where systemd is not PID 1. It reads the units as systemd.syntax(7), systemd.service(5) and
// systemd.exec(5) say, has systemd-analyze verify each before it starts it, and refuses keys that it does not know.

const (
	unitDir  = "/etc/systemd/system/"
	standDir = "/etc/isukit-standin/" // the lab's hosts have an /etc of their own
)

// Main makes the test binary the stand-in for systemctl where it was started as that. TestMain calls it first.
func Main() {
	if filepath.Base(os.Args[0]) != "systemctl" {
		return
	}
	if err := systemctl(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func systemctl(args []string) error {
	var verb, unit string
	flags := map[string]string{}
	for _, a := range args {
		switch {
		case strings.HasPrefix(a, "--"):
			k, v, _ := strings.Cut(a, "=")
			flags[k] = v
		case verb == "":
			verb = a
		case unit == "":
			unit = a
		}
	}
	if err := os.MkdirAll(standDir, 0o755); err != nil {
		return err
	}
	switch verb {
	case "daemon-reload", "status":
		return nil
	case "is-active":
		if !running(unit) {
			return errors.New("inactive")
		}
		return nil
	case "reset-failed":
		if running(unit) {
			return nil
		}
		return errors.Join(os.RemoveAll(standDir+unit+".exit"), os.RemoveAll(standDir+unit+".main"))
	case "start":
		return startUnit(unit)
	case "stop":
		return stopUnit(unit)
	case "kill":
		if pid := mainPID(unit); pid > 0 && flags["--signal"] == "KILL" {
			return syscall.Kill(-pid, syscall.SIGKILL)
		}
		return nil
	case "show":
		_, value := flags["--value"]
		return show(unit, strings.Split(flags["--property"], ","), value)
	case "supervise":
		return supervise(unit)
	}
	return fmt.Errorf("the stand-in knows no %q", verb)
}

func mainPID(unit string) int {
	text, err := os.ReadFile(standDir + unit + ".main")
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

func running(unit string) bool {
	_, err := os.Stat(standDir + unit + ".exit")
	return mainPID(unit) > 0 && err != nil
}

func show(unit string, properties []string, value bool) error {
	fields := map[string]string{"ActiveState": "inactive", "MainPID": "0", "ExecMainCode": "0", "ExecMainStatus": "0", "Result": "success"}
	if text, err := os.ReadFile(standDir + unit + ".exit"); err == nil {
		var code, status int
		if _, err := fmt.Sscan(string(text), &code, &status); err != nil {
			return err
		}
		fields["ExecMainCode"], fields["ExecMainStatus"] = fmt.Sprint(code), fmt.Sprint(status)
		if _, err := os.Stat(standDir + unit + ".stopped"); err != nil && (code != 1 || status != 0) {
			fields["ActiveState"], fields["Result"] = "failed", "exit-code"
		}
	} else if pid := mainPID(unit); pid > 0 {
		fields["ActiveState"], fields["MainPID"] = "active", fmt.Sprint(pid)
	}
	for _, p := range properties {
		if value {
			fmt.Println(fields[p])
		} else {
			fmt.Printf("%s=%s\n", p, fields[p])
		}
	}
	return nil
}

func startUnit(unit string) error {
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", unitDir+unit).CombinedOutput(); err != nil || bytes.Contains(out, []byte(unit)) {
		return fmt.Errorf("systemd-analyze verify %s: %v: %s", unit, err, out)
	}
	for _, end := range []string{".exit", ".main", ".stopped"} {
		if err := os.RemoveAll(standDir + unit + end); err != nil {
			return err
		}
	}
	cmd := exec.Command("/proc/self/exe", "supervise", unit)
	cmd.Args[0] = "systemctl"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if mainPID(unit) > 0 {
			return nil
		}
		if text, err := os.ReadFile(standDir + unit + ".exit"); err == nil {
			return fmt.Errorf("%s failed at once: %s", unit, text)
		}
	}
	return fmt.Errorf("%s does not start", unit)
}

func stopUnit(unit string) error {
	pid := mainPID(unit)
	if pid == 0 || !running(unit) {
		return nil
	}
	u, err := readUnit(unit)
	if err != nil {
		return err
	}
	if err := os.WriteFile(standDir+unit+".stopped", nil, 0o644); err != nil {
		return err
	}
	sig, ok := map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGQUIT": syscall.SIGQUIT, "SIGINT": syscall.SIGINT}[u.get("KillSignal")]
	if !ok || u.get("TimeoutStopSec") != "infinity" || u.get("KillMode") != "mixed" {
		return fmt.Errorf("%s: the stand-in cannot stop it: %v", unit, u)
	}
	if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
		return err
	}
	for running(unit) {
		time.Sleep(2 * time.Millisecond)
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL) // what is left of it
	return nil
}

func supervise(unit string) error {
	u, err := readUnit(unit)
	if err != nil {
		return err
	}
	ended := func(code, status int) error {
		return os.WriteFile(standDir+unit+".exit", fmt.Appendf(nil, "%d %d\n", code, status), 0o644)
	}
	cmd, err := u.command()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return os.WriteFile(standDir+unit+".exit", fmt.Appendf(nil, "1 203 %v\n", err), 0o644)
	}
	if err := os.WriteFile(standDir+unit+".main", fmt.Appendln(nil, cmd.Process.Pid), 0o644); err != nil {
		return err
	}
	_ = cmd.Wait() // how it ended is in its state
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return ended(2, int(ws.Signal()))
	}
	return ended(1, cmd.ProcessState.ExitCode())
}

// unitFile holds the values of a unit and its drop-ins; the last one of a key counts.
type unitFile map[string]string

func (u unitFile) get(key string) string { return u[key] }

func readUnit(unit string) (unitFile, error) {
	u := unitFile{}
	dropIns, _ := filepath.Glob(unitDir + unit + ".d/*.conf")
	for _, file := range append([]string{unitDir + unit}, dropIns...) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSpace(line)
			if line == "" || line[0] == '#' || line[0] == ';' || line[0] == '[' {
				continue
			}
			k, v, ok := strings.Cut(line, "=")
			if !ok {
				return nil, fmt.Errorf("%s: %q", file, line)
			}
			u[k] = v
		}
	}
	return u, nil
}

func (u unitFile) command() (*exec.Cmd, error) {
	known := " Description X-Isukit-Since X-Isukit-Stamp Type ExecStart WorkingDirectory StandardInput StandardOutput StandardError User EnvironmentFile KillMode KillSignal TimeoutStopSec LimitNOFILE "
	for k := range u {
		if !strings.Contains(known, " "+k+" ") {
			return nil, fmt.Errorf("the stand-in knows no %s", k)
		}
	}
	argv, err := splitWords(u["ExecStart"])
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = strings.ReplaceAll(u["WorkingDirectory"], "%%", "%")
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if file := u["EnvironmentFile"]; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, parseEnv(string(text))...)
	}
	log, err := os.OpenFile(strings.ReplaceAll(strings.TrimPrefix(u["StandardOutput"], "append:"), "%%", "%"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if name := u["User"]; name != "" {
		who, err := user.Lookup(name)
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(who.Uid)
		gid, _ := strconv.Atoi(who.Gid)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if limit := u["LimitNOFILE"]; limit != "" {
		n, err := strconv.ParseUint(limit, 10, 64)
		var own syscall.Rlimit
		if err == nil {
			err = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &own)
		}
		if err == nil {
			n = min(n, own.Max) // systemd may raise its own limit; this stand-in may not everywhere
			err = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n})
		}
		if err != nil {
			return nil, err
		}
	}
	return cmd, nil
}

// splitWords: words are separated by spaces; "..." is one, with C-style escapes; %% is %, $$ is $.
func splitWords(line string) ([]string, error) {
	var words []string
	in := strings.NewReader(line)
	for {
		c, err := in.ReadByte()
		if err == io.EOF {
			return words, nil
		}
		if c == ' ' {
			continue
		}
		if c != '"' {
			return nil, fmt.Errorf("a word without quotes in %q", line)
		}
		var w strings.Builder
		for {
			c, err := in.ReadByte()
			if err != nil {
				return nil, fmt.Errorf("a word without end in %q", line)
			}
			if c == '"' {
				break
			}
			if c == '\\' || c == '%' || c == '$' {
				next, err := in.ReadByte()
				if err != nil || c != '\\' && next != c {
					return nil, fmt.Errorf("%c%c in %q", c, next, line)
				}
				if to, ok := map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', '\\': '\\', '"': '"'}[next]; ok && c == '\\' {
					next = to
				}
				c = next
			}
			w.WriteByte(c)
		}
		words = append(words, w.String())
	}
}

// parseEnv reads NAME="VALUE", in which a backslash takes the meaning from the next character.
func parseEnv(text string) []string {
	var list []string
	for text != "" {
		name, rest, _ := strings.Cut(text, `="`)
		var v strings.Builder
		i := 0
		for ; i < len(rest) && rest[i] != '"'; i++ {
			if rest[i] == '\\' {
				i++
			}
			v.WriteByte(rest[i])
		}
		list = append(list, name+"="+v.String())
		text = strings.TrimPrefix(rest[min(len(rest), i+1):], "\n")
	}
	return list
}
