package project

// RunningNginx is a shell function for scripts that read what nginx has been told: nginx_configs prints what "nginx -T" does
// for every nginx that runs in this network namespace, by the options -c and -p that it was started with, each after a line
// "@nginx OPTIONS"; where none runs, that of the configuration that one would take. Only processes of root and of the user
// are asked.
const RunningNginx = `
nginx_options() {
	ps -eo pid=,user=,args= 2>/dev/null | while read -r pid user a b c program line; do
		case "$a $b $c" in "nginx: master process") ;; *) continue;; esac
		case "$user" in root|"$(id -un)") ;; *) continue;; esac
		[ "$(readlink "/proc/$pid/ns/net")" = "$(readlink /proc/self/ns/net)" ] || continue
		case "${program##*/}" in nginx|openresty) ;; *) program=nginx;; esac
		options=
		set -- $line
		while [ $# -gt 1 ]; do
			case "$1" in -c|-p) options="$options $1 $2"; shift;; esac
			shift
		done
		echo "$program$options"
	done | sort -u | head -n 8
}
nginx_configs() {
	all=$(nginx_options)
	if [ -z "$all" ]; then command -v nginx >/dev/null 2>&1 || return 0; all=nginx; fi
	echo "$all" | while read -r program options; do
		echo "@nginx $options"
		"$program" -T $options 2>/dev/null || sudo -n "$program" -T $options 2>/dev/null
	done
}
`
