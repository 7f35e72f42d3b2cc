package observe

import (
	"context"
	"fmt"
	"strings"
	"time"

	"isukit/infra/engine/nginx"
	"isukit/infra/host"
	"isukit/infra/project"
)

// Setting is what one source of a host says that is in effect.
type Setting struct {
	Source string
	Values map[string]string
}

// settingsScript prints settings in sections that begin with "@", without those that a host lacks or hides. It can be run by hand.
const settingsScript = `have() { command -v "$1" >/dev/null 2>&1; }
PATH=$PATH:/usr/sbin:/sbin
echo @versions
read -r v 2>/dev/null </proc/sys/kernel/osrelease && echo "kernel=$v"
(. /etc/os-release; echo "os=$PRETTY_NAME") 2>/dev/null
while read -r k n v; do case "$k $n" in "model name") echo "cpu=${v#: }"; break;; esac; done 2>/dev/null </proc/cpuinfo
echo "cpus=$(nproc 2>/dev/null)"
while read -r k v _; do case "$k" in MemTotal:) echo "memory_kib=$v"; break;; esac; done 2>/dev/null </proc/meminfo
have nginx && echo "nginx=$(nginx -v 2>&1)"
have envoy && echo "envoy=$(envoy --version 2>/dev/null | tail -n 1)"
have mariadbd && echo "mariadbd=$(mariadbd --version 2>/dev/null)"
have mysqld && ! [ "$(command -v mysqld)" -ef "$(command -v mariadbd)" ] && echo "mysqld=$(mysqld --version 2>/dev/null)"
echo @sysctl
wanted='^(net\.core|net\.ipv4|vm|fs|kernel\.(threads-max|pid_max|sched|numa|randomize))'
{ sysctl -ar "$wanted" || sysctl -a; } 2>/dev/null | grep -E "$wanted" |
	grep -vE '^(fs\.(aio-nr|dentry-state|file-nr|inode-nr|inode-state|quota)|net\.ipv4\.(conf|neigh)\.[^ad]|kernel\.random|vm\.stat)'
echo @boot
read -r all 2>/dev/null </proc/cmdline
for v in $all; do case $v in mitigations*|transparent_hugepage*|isolcpus*|nohz*) echo "$v";; esac; done
read -r v 2>/dev/null </sys/kernel/mm/transparent_hugepage/enabled && v=${v#*\[} && echo "transparent_hugepage=${v%%\]*}"
echo @limits
seen=
ps -C nginx,envoy,mysqld,mariadbd -o pid=,comm= --sort=start_time 2>/dev/null | while read -r p name; do
	case $seen in *" $name "*) continue;; esac
	seen="$seen $name "
	while read -r a b c soft hard rest; do
		case "$a $b $c" in "Max open files") echo "$name open files=$soft:$hard"; break;; esac
	done 2>/dev/null < "/proc/$p/limits"
done
if have systemctl; then
	for u in $(systemctl list-units --type=service --state=running --no-legend --plain 2>/dev/null | cut -d ' ' -f 1 | head -n 60); do
		case "$u" in systemd-*|dbus*|getty*|user@*|ssh*|cron*|polkit*|snapd*|unattended*) continue;; esac
		echo "@unit $u"
		systemctl show "$u" -p LimitNOFILE -p MemoryMax -p CPUQuotaPerSecUSec -p Restart -p UnitFileState -p ExecStart -p DropInPaths 2>/dev/null
	done
fi
` + project.RunningNginx + `
nginx_configs
true`

// Settings reads what is in effect on a host. Secrets are masked.
func Settings(ctx context.Context, at host.Host) ([]Setting, error) {
	text, err := shell(ctx, at, time.Minute, settingsScript)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return parseSettings(text), nil
}

func parseSettings(text string) []Setting {
	var all []Setting
	for _, section := range strings.Split("\n"+text, "\n@")[1:] {
		source, body, _ := strings.Cut(section, "\n")
		s := Setting{Source: strings.TrimSpace(source)}
		if isNginx(s.Source) {
			var err error
			if s.Values, err = nginx.Values(body); err != nil {
				s.Values = map[string]string{"unreadable": err.Error()}
			}
			for key, value := range s.Values {
				s.Values[key] = masked(key[strings.LastIndexByte(key, '/')+1:], value)
			}
		} else {
			s.Values = keyValues(body)
		}
		if len(s.Values) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// isNginx tells the sources that an nginx is; one that was started with options has them in its name.
func isNginx(source string) bool { return source == "nginx" || strings.HasPrefix(source, "nginx ") }

// keyValues reads "key = value" lines; a line without a value is a key that is set.
func keyValues(body string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(body) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		// systemd shows the start time of a command.
		if value, ok := strings.CutPrefix(value, "{ path="); ok {
			if _, rest, ok := strings.Cut(value, "argv[]="); ok {
				value = strings.TrimSpace(strings.Split(rest, " ; ")[0])
			}
			values[key] = masked(key, value)
			continue
		}
		if key != "" && value != "" {
			values[key] = masked(key, strings.Join(strings.Fields(value), " "))
		}
	}
	return values
}

// LogFormats are the log_format directives among settings of nginx, by name, without their quotes.
func LogFormats(settings []Setting) map[string]string {
	formats := map[string]string{}
	for _, s := range settings {
		for key, value := range s.Values {
			last := key[strings.LastIndexByte(key, '/')+1:]
			if !isNginx(s.Source) || !strings.HasPrefix(last, "log_format") {
				continue
			}
			if name, format := nginx.LogFormat(value); name != "" {
				formats[name] = format
			}
		}
	}
	return formats
}
