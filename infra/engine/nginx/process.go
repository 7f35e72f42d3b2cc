package nginx

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"isukit/infra/host"
)

// Master is the command line with which an nginx was started, from what its master process calls itself; nil for its workers.
func Master(title string) []string {
	command, ok := strings.CutPrefix(title, "nginx: master process ")
	if !ok {
		return nil
	}
	var argv []string
	for _, word := range strings.Fields(command) {
		if word == "-g" { // "daemon off;" and the like are not for -T, and their end is unknown
			break
		}
		argv = append(argv, word)
	}
	return argv
}

// MainFile is the main configuration file of an nginx: from its command line, or otherwise as it was built.
func MainFile(ctx context.Context, h host.Host, argv []string) (string, error) {
	option := func(name string) string {
		for i, arg := range argv {
			if arg == name && i+1 < len(argv) {
				return argv[i+1]
			}
		}
		return ""
	}
	file, prefix := option("-c"), option("-p")
	if path.IsAbs(file) {
		return file, nil
	}
	res, err := h.Run(ctx, host.Command{Argv: []string{argv[0], "-V"}})
	if err != nil {
		return "", fmt.Errorf("query the path of nginx's configuration file: %w", err)
	}
	if file == "" {
		file = BuiltWith(string(res.Stderr), "--conf-path")
	}
	if prefix == "" {
		prefix = BuiltWith(string(res.Stderr), "--prefix")
	}
	if file == "" {
		file = "conf/nginx.conf"
	}
	if !path.IsAbs(file) {
		file = path.Join(prefix, file)
	}
	if !path.IsAbs(file) {
		return "", errors.New("nginx was started with a configuration file that is named from a directory of its own")
	}
	return file, nil
}
