package infra

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"isukit/infra/host"
	"isukit/infra/tune"
)

// NginxTarget is an nginx that isukit did not start: conf is its configuration file, which names its pid file.
func NginxTarget(p tune.Place, conf string) (*tune.Target, error) {
	path, err := findProgram("nginx", "make setup")
	if err != nil {
		return nil, err
	}
	if conf, err = filepath.Abs(conf); err != nil {
		return nil, err
	}
	return tune.NewNginx(p, tune.NginxConfig{
		Conf: conf, Argv: []string{path, "-c", conf},
		PID: func(ctx context.Context) (int, error) { return nginxPID(ctx, p.Host, conf) },
	}), nil
}

// nginxPID reads the pid file; 0 says that nginx does not run.
func nginxPID(ctx context.Context, h host.Host, conf string) (int, error) {
	text, err := h.Get(ctx, conf)
	if err != nil {
		return 0, err
	}
	file, err := tune.NginxValue(string(text), "pid")
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
