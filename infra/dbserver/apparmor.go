package dbserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// confined tells whether AppArmor holds the program to directories of the system's own service. root is "/" except in
// tests. Profiles attach to a path: Ubuntu has one for /usr/sbin/mysqld, which then may not open a data directory,
// socket or log anywhere but in /var/lib/mysql, /var/run/mysqld and /var/log/mysql.
func confined(program, root string) bool {
	enabled, err := os.ReadFile(filepath.Join(root, "sys/module/apparmor/parameters/enabled"))
	if err != nil || strings.TrimSpace(string(enabled)) != "Y" {
		return false
	}
	profile := strings.ReplaceAll(strings.TrimPrefix(program, "/"), "/", ".")
	if _, err := os.Stat(filepath.Join(root, "etc/apparmor.d/disable", profile)); err == nil {
		return false
	}
	_, err = os.Stat(filepath.Join(root, "etc/apparmor.d", profile))
	return err == nil
}

// unconfined copies the server's binary into dir and returns an Install that runs the copy: the profile does not
// attach to its path. The system's profile stays as it is. The copy finds its files through --basedir.
func (in Install) unconfined(dir string) (Install, error) {
	private := filepath.Join(dir, filepath.Base(in.path))
	if err := copyFile(private, in.path, 0o700); err != nil {
		return Install{}, fmt.Errorf("copy %s out of its AppArmor profile: %w", in.path, err)
	}
	program := append([]string{}, in.program...)
	program[len(program)-1] = private
	in.program, in.path = program, private
	return in, nil
}
