package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"isukit/infra/engine/nginx"
	"isukit/infra/host"
	"isukit/infra/tune"
)

// NginxTarget is an nginx that isukit did not start: conf is its configuration file, which names its pid file.
func NginxTarget(p tune.Place, conf string) (*tune.Target, error) {
	program, err := findProgram("nginx", "make setup")
	if err != nil {
		return nil, err
	}
	if conf, err = filepath.Abs(conf); err != nil {
		return nil, err
	}
	return tune.NewNginx(p, tune.NginxConfig{
		Conf: conf, Argv: []string{program, "-c", conf},
		PID: func(ctx context.Context) (int, error) { return nginxPID(ctx, p.Host, conf) },
	}), nil
}

// EnvoyTarget is an Envoy that isukit did not start, whose configuration file is conf: the process that was started with it, and
// what systemd restarts where unit is not "". localDir is where make envoy puts the program.
func EnvoyTarget(p tune.Place, conf, unit, localDir string) (*tune.Target, error) {
	program, err := findEnvoy(localDir, "make envoy")
	if err != nil {
		return nil, err
	}
	if conf, err = filepath.Abs(conf); err != nil {
		return nil, err
	}
	c := tune.EnvoyConfig{Conf: conf, Argv: []string{program, "-c", conf}, PID: func(ctx context.Context) (int, error) { return envoyPID(ctx, p.Host, conf) }}
	if unit != "" {
		c.Restart = func(ctx context.Context) error { return RestartUnit(ctx, p.Host, unit) }
	}
	return tune.NewEnvoy(p, c), nil
}

// envoyPID finds the Envoy that has the file among its arguments; 0 says that there is none.
func envoyPID(ctx context.Context, h host.Host, conf string) (int, error) {
	res, err := h.Run(ctx, host.Command{Argv: []string{"sh", "-c",
		`for p in $(pgrep -x envoy); do tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | grep -qxF -e "$1" -e "--config-path=$1" && echo "$p" && exit; done; true`, "sh", conf}})
	if err != nil || res.Code != 0 {
		return 0, errors.Join(err, fmt.Errorf("look for Envoy: %s", res.Stderr))
	}
	text := strings.TrimSpace(string(res.Stdout))
	if text == "" {
		return 0, nil
	}
	return strconv.Atoi(text)
}

// nginxPID reads the pid file; 0 says that nginx does not run.
func nginxPID(ctx context.Context, h host.Host, conf string) (int, error) {
	text, err := h.Get(ctx, conf)
	if err != nil {
		return 0, err
	}
	file, err := nginx.MainValue(string(text), "pid")
	if err != nil {
		return 0, fmt.Errorf("%s: %w", conf, err)
	}
	if file == "" {
		file = "/run/nginx.pid"
	}
	if !filepath.IsAbs(file) {
		return 0, fmt.Errorf("%s: pid %q is not an absolute path", conf, file)
	}
	pid, err := h.Get(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(pid)))
}

// RestartUnit restarts a systemd unit and returns when systemd says that it runs.
func RestartUnit(ctx context.Context, h host.Host, unit string) error {
	res, err := h.Run(ctx, host.Command{Argv: []string{"systemctl", "restart", unit}})
	if err == nil && res.Code != 0 {
		err = fmt.Errorf("systemctl restart %s: exit status %d: %s", unit, res.Code, strings.TrimSpace(string(res.Stderr)))
	}
	return err
}
