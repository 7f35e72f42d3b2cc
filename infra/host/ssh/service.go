package ssh

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"isukit/infra/host"
)

// startScript writes a unit, its drop-in and its environment, and starts it. They are its input, in base64, and may contain secrets.
const startScript = `read -r text && read -r limits && read -r secrets || exit 93
umask 077
unit=%[1]s units=` + unitDir + ` log=%[2]s env=%[3]s
command -v %[4]s >/dev/null || exit 90
if systemctl is-active --quiet "$unit"; then echo "it runs already" >&2; exit 1; fi
mkdir -p -- "$(dirname -- "$log")" "$(dirname -- "$env")" && touch -- "$log" || exit 1
printf '%%s' "$text" | base64 -d >"$units$unit.new" || exit 1
chmod 644 "$units$unit.new" && sync "$units$unit.new" && mv -f "$units$unit.new" "$units$unit" || exit 1
rm -f "$units$unit.d/limits.conf"
if [ -n "$limits" ]; then
	mkdir -p -m 755 "$units$unit.d" && printf '%%s' "$limits" | base64 -d >"$units$unit.d/limits.conf" && chmod 644 "$units$unit.d/limits.conf" || exit 1
fi
printf '%%s' "$secrets" | base64 -d >"$env" || exit 1
mkdir -p ` + startedDir + `"$unit.d" && printf '[Service]\nRestart=no\n' >` + startedDir + `"$unit.d/started.conf" || exit 1
chmod -R a+rX ` + startedDir + `"$unit.d"
systemctl daemon-reload && systemctl enable --quiet "$unit" || exit 1
systemctl reset-failed "$unit" 2>/dev/null
systemctl start "$unit" && exit 0
# A program that exits immediately was started, too; 200 and above are systemd's own codes when it could not run one (systemd.exec(5)).
eval "$(systemctl show "$unit" --property=ExecMainCode,ExecMainStatus)"
if [ "$ExecMainCode" = 0 ] || [ "$ExecMainCode" = 1 ] && [ "$ExecMainStatus" -ge 200 ]; then
	systemctl status --no-pager --lines 5 "$unit" >&2
	exit 1
fi
`

// DropIn implements host.Unitary.
func (n *node) DropIn(service string) string { return unitDir + unitName(service) + ".d/tuned.conf" }

// RestartOp implements host.Unitary.
func (n *node) RestartOp(service string) host.Op {
	return host.Script(`sed -i "s/^X-Isukit-Since=.*/X-Isukit-Since=$(date +%s%N)/" "$1$2" && systemctl daemon-reload && systemctl restart "$2"`, unitDir, unitName(service))
}

// Start implements host.Host.
func (n *node) Start(ctx context.Context, s host.Service) error {
	if err := n.start(ctx, s); err != nil {
		return fmt.Errorf("start %s on %s: %w", s.Name, n.about.Name, err)
	}
	return nil
}

func (n *node) start(ctx context.Context, s host.Service) error {
	n.memo.act()
	if err := checkName(s); err != nil {
		return err
	}
	program, err := n.find(ctx, s.Argv[0])
	if err != nil {
		return err
	}
	unit, dropIn, env, err := Unit(s, program, n.about.Dir, time.Now())
	if err != nil {
		return err
	}
	var input []byte
	for _, text := range []string{unit, dropIn, env} {
		input = append(base64.StdEncoding.AppendEncode(input, []byte(text)), '\n')
	}
	return n.act(ctx, fmt.Sprintf(startScript, unitName(s.Name), quote(s.LogFile), envFile(s.Name), quote(program)), input, "program "+program+" not found")
}

// act runs a script that must succeed; refused is what its exit status noProgram means.
func (n *node) act(ctx context.Context, script string, input []byte, refused string) error {
	res, err := n.client.script(ctx, script, input, host.MaxOutputBytes)
	switch {
	case err != nil:
	case res.Code == noProgram:
		err = errors.New(refused)
	case res.Code != 0:
		err = n.client.failure(res)
	}
	return err
}

// find is the absolute path of a program.
func (n *node) find(ctx context.Context, name string) (string, error) {
	if path.IsAbs(name) {
		return name, nil
	}
	script := `PATH="$PATH:` + systemPath + `"; command -v ` + quote(name)
	found, err := n.client.script(ctx, script, nil, host.MaxOutputBytes)
	if err != nil {
		return "", err
	}
	program := strings.TrimSpace(string(found.Stdout))
	if found.Code != 0 || !path.IsAbs(program) {
		return "", fmt.Errorf("program %s not found", name)
	}
	return program, nil
}

// stopScript waits for the unit for the given seconds, and then kills it.
const stopScript = `unit=%s
[ -e ` + unitDir + `"$unit" ] || exit 0
if [ %[2]s != 0 ] && timeout %[2]s systemctl stop "$unit"; then exit 0; fi
systemctl kill --signal=KILL "$unit" 2>/dev/null
systemctl stop "$unit"
`

// Stop implements host.Host.
func (n *node) Stop(ctx context.Context, name string, patience time.Duration) error {
	n.memo.act()
	// When ctx ends, patience does: what was begun is not left half done.
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, max(0, time.Until(deadline)))
	}
	if ctx.Err() != nil {
		patience = 0
	}
	seconds := strconv.FormatFloat(patience.Seconds(), 'f', -1, 64)
	_, err := n.client.check(context.WithoutCancel(ctx), "stop "+name, fmt.Sprintf(stopScript, quote(unitName(name)), seconds), nil)
	return err
}

// servicesScript prints when the kernel was started and when the host was, in seconds of its clock, which differ in a container, and for
// each unit: its text, whether isukit has started it since the boot, and systemd's state.
const servicesScript = `awk -v now="$(date +%s)" 'NR == 1 { kernel = now - $1; next }
{ sub(/.*\) /, ""); printf "kernel=%.2f\nbooted=%.2f\n", kernel, kernel + $20 / 100 }' /proc/uptime /proc/1/stat
cd ` + unitDir + ` || exit 1
set -- isukit-*.service
[ -e "$1" ] || exit 0
grep -H '^X-Isukit-' "$@"
for unit; do [ ! -e ` + startedDir + `"$unit.d/started.conf" ] || echo "$unit:byhand=yes"; done
echo
systemctl show "$@" --property=Id,ActiveState,SubState,MainPID,ExecMainCode,ExecMainStatus,ExecMainStartTimestampMonotonic,Result
`

var servicesOp = host.Script(servicesScript)

type shown struct {
	service string
	kernel  time.Time // its start, from which systemd counts
	fields  map[string]string
}

func (n *node) show(ctx context.Context) (list []shown, booted time.Time, err error) {
	res, err := n.Run(ctx, *servicesOp.Run)
	if err == nil && res.Code != 0 {
		err = n.client.failure(res)
	}
	if err != nil {
		return nil, booted, fmt.Errorf("inspect services: %w", err)
	}
	var kernel time.Time
	units := map[string]map[string]string{}
	of := func(unit string) map[string]string {
		if units[unit] == nil {
			units[unit] = map[string]string{}
		}
		return units[unit]
	}
	for _, block := range strings.Split(string(res.Stdout), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(block) {
			k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			if unit, field, named := strings.Cut(k, ":"); named {
				of(unit)[field] = v
				continue
			}
			fields[k] = v
		}
		if fields["kernel"] != "" {
			kernel, booted = seconds(fields["kernel"]), seconds(fields["booted"])
		}
		if unit := fields["Id"]; unit != "" {
			maps.Copy(of(unit), fields)
		}
	}
	for unit, fields := range units {
		list = append(list, shown{strings.TrimSuffix(strings.TrimPrefix(unit, "isukit-"), ".service"), kernel, fields})
	}
	slices.SortFunc(list, func(a, b shown) int {
		return cmp.Or(cmp.Compare(a.number("X-Isukit-Since"), b.number("X-Isukit-Since")), strings.Compare(a.service, b.service))
	})
	return list, booted, nil
}

func seconds(text string) time.Time {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(int64(s * 1000))
}

func (s shown) number(field string) int64 {
	n, _ := strconv.ParseInt(s.fields[field], 10, 64) // systemd's numbers are numbers; an empty one is 0
	return n
}

func (s shown) state() host.State {
	pid := int(s.number("MainPID"))
	st := host.State{
		PID: pid, Group: pid, Since: time.Unix(0, s.number("X-Isukit-Since")), Stamp: s.fields["X-Isukit-Stamp"],
		OutOfMemory: s.fields["Result"] == "oom-kill",
	}
	began, byHand := s.number("ExecMainStartTimestampMonotonic"), s.fields["byhand"] == "yes"
	if !byHand {
		st.Since = time.Time{}
		if began > 0 {
			st.Since = s.kernel.Add(time.Duration(began) * time.Microsecond)
		}
	}
	switch s.fields["ActiveState"] {
	case "active", "activating", "deactivating", "reloading":
		if st.Running = s.fields["SubState"] != "auto-restart"; st.Running {
			return st
		}
	}
	if began == 0 && !byHand {
		st.Exit = "not started since the boot"
		return st
	}
	status := s.number("ExecMainStatus")
	if code := s.number("ExecMainCode"); code == 2 || code == 3 { // CLD_KILLED, CLD_DUMPED
		st.Exit = "signal: " + syscall.Signal(status).String()
	} else {
		st.Exit = fmt.Sprintf("exit status %d", status)
	}
	return st
}

// State implements host.Host. systemd does not keep how a service ended that was stopped as asked: that is exit status 0.
func (n *node) State(ctx context.Context, name string) (host.State, error) {
	states, _, err := n.States(ctx)
	st, ok := states[name]
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s", host.ErrUnknownService, name)
	}
	return st, err
}

// States implements host.Host.
func (n *node) States(ctx context.Context) (states map[string]host.State, booted time.Time, err error) {
	list, booted, err := n.show(ctx)
	states = map[string]host.State{}
	for _, s := range list {
		states[s.service] = s.state()
	}
	return states, booted, err
}

// Services implements host.Host.
func (n *node) Services(ctx context.Context) ([]string, error) {
	list, _, err := n.show(ctx)
	var names []string
	for _, s := range list {
		names = append(names, s.service)
	}
	return names, err
}

const forgetScript = `unit=%[1]s
if systemctl is-active --quiet "$unit"; then exit 90; fi
systemctl disable --quiet "$unit" 2>/dev/null
rm -rf -- ` + unitDir + `"$unit" ` + unitDir + `"$unit.d" ` + startedDir + `"$unit.d" %[2]s && systemctl daemon-reload
`

// Forget implements host.Host: it takes the unit away.
func (n *node) Forget(ctx context.Context, name string) error {
	n.memo.act()
	if err := n.act(ctx, fmt.Sprintf(forgetScript, quote(unitName(name)), quote(envFile(name))), nil, "it runs"); err != nil {
		return fmt.Errorf("forget %s on %s: %w", name, n.about.Name, err)
	}
	return nil
}
