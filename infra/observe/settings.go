package observe

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"isukit/infra/host"
	"isukit/infra/project"
	"isukit/infra/redact"
)

// Setting is what one source of a host says that is in effect.
type Setting struct {
	Source string
	Values map[string]string
}

// settingsScript prints what is in effect, in sections that begin with "@". What a host has not, or does not let be read, is
// left out. Run by hand it shows the same.
const settingsScript = `have() { command -v "$1" >/dev/null 2>&1; }
PATH=$PATH:/usr/sbin:/sbin
echo @versions
echo "kernel=$(uname -r)"
echo "os=$(. /etc/os-release 2>/dev/null; echo "$PRETTY_NAME")"
echo "cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
echo "cpus=$(nproc 2>/dev/null)"
echo "memory_kib=$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
have nginx && echo "nginx=$(nginx -v 2>&1)"
have envoy && echo "envoy=$(envoy --version 2>/dev/null | tail -n 1)"
for m in mysqld mariadbd; do have $m && echo "$m=$($m --version 2>/dev/null)"; done
echo @sysctl
sysctl -a 2>/dev/null | grep -E '^(net\.core|net\.ipv4|vm|fs|kernel\.(threads-max|pid_max|sched|numa|randomize))' |
	grep -vE '^(fs\.(dentry-state|file-nr|inode-nr|inode-state|quota)|net\.ipv4\.(conf|neigh)\.[^ad]|kernel\.random|vm\.stat)'
echo @boot
cat /proc/cmdline 2>/dev/null | tr ' ' '\n' | grep -E '^(mitigations|transparent_hugepage|isolcpus|nohz)'
echo "transparent_hugepage=$(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null)"
echo @limits
for name in nginx envoy mysqld mariadbd; do
	p=$(pgrep -o -x "$name" 2>/dev/null) || continue
	while read -r a b c soft hard rest; do
		case "$a $b $c" in "Max open files") echo "$name open files=$soft:$hard";; esac
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
			s.Values = nginxValues(redact.Text(body))
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
		// systemd tells of a command when it was started.
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

// nginxValues makes one value of every directive of what nginx -T prints: "http/server[2]/location /api/proxy_pass". What
// repeats is numbered from 2 on.
func nginxValues(text string) map[string]string {
	values := map[string]string{}
	var path []string
	counts := map[string]int{}
	unique := func(key string) string {
		counts[key]++
		if n := counts[key]; n > 1 {
			return key + "[" + strconv.Itoa(n) + "]"
		}
		return key
	}
	var words []string
	for _, token := range nginxTokens(text) {
		switch token {
		case "{":
			path = append(path, unique(strings.Join(append([]string{strings.Join(path, "/")}, words...), " ")))
			words = nil
		case "}":
			path = path[:max(0, len(path)-1)]
			words = nil
		case ";":
			if len(words) > 0 {
				prefix := ""
				if len(path) > 0 {
					prefix = path[len(path)-1]
				}
				key := unique(strings.TrimSpace(prefix + "/" + words[0]))
				values[strings.TrimPrefix(key, "/")] = strings.Join(words[1:], " ")
			}
			words = nil
		default:
			words = append(words, token)
		}
	}
	return values
}

// nginxTokens splits a configuration into words and the signs ; { }. Comments are left out.
func nginxTokens(text string) []string {
	var tokens []string
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case c == ';' || c == '{' || c == '}':
			tokens = append(tokens, string(c))
			i++
		default:
			n := nginxWord(text[i:])
			tokens = append(tokens, text[i:i+n])
			i += n
		}
	}
	return tokens
}

// nginxWord is the length of the word that a text begins with: quotes hold all in it, and "${name}" is no block.
func nginxWord(text string) int {
	if q := text[0]; q == '"' || q == '\'' {
		for i := 1; i < len(text); i++ {
			if text[i] == '\\' {
				i++
			} else if text[i] == q {
				return i + 1
			}
		}
		return len(text)
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '$' && i+1 < len(text) && text[i+1] == '{':
			if end := strings.IndexByte(text[i:], '}'); end > 0 {
				i += end
			}
		case strings.IndexByte(" \t\r\n;{}", c) >= 0:
			return i
		}
	}
	return len(text)
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
			name, format, _ := strings.Cut(value, " ")
			formats[name] = unquoted(format)
		}
	}
	return formats
}

// unquoted joins the quoted parts of a log_format.
func unquoted(text string) string {
	var b strings.Builder
	for _, word := range nginxTokens(text) {
		if strings.HasPrefix(word, "escape=") {
			continue
		}
		if len(word) > 1 && (word[0] == '\'' || word[0] == '"') {
			word = word[1 : len(word)-1]
		}
		b.WriteString(word)
	}
	return b.String()
}
