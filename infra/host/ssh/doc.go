// Package ssh is the driver for real hosts: Linux with systemd, a POSIX shell and sshd, and root by login or by sudo without a password.
//
// It runs the system's own ssh, so that ssh_config, ProxyJump, known_hosts, agents and key files work as they do by hand. Connections are
// shared (ControlMaster) while the driver is open. Everything that runs on a host is a script on its standard input, so that no part of it
// is in an argument list; what follows the script is the command's input.
//
// Services are systemd units isukit-NAME.service with a drop-in for limits: limits.conf does not bind services. The units are also the
// record of what was started there, for later commands from any machine.
package ssh
