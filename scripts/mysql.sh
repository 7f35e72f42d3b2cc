#!/bin/sh
# mysql.sh apply|verify|revert FILE [--cnf FILE] [--restart COMMAND] [--target NAME] [--memory BYTES] [--shared]
# [--accept-risk]: a tuning of MySQL or MariaDB, without isukit. FILE is one of mysql/*.cnf.
#   MYSQL      the client with its options, words apart by blanks: "mysql --defaults-extra-file=/root/.my.cnf"; its account
#              may change variables
#   --cnf      the server's option file that gets the settings; without it only the running server does
#   --restart  restarts the server, for settings that need it: "systemctl restart mysql"
#   --target   the name of the records: db-ADDRESS:PORT, as isukit tune calls the server of a DSN
# Exit status: 3 when verify finds a difference.
# shellcheck disable=SC2317 # functions are called by state.sh
set -u
self=mysql.sh kind=mysql target='' conf='' restart_command='' accept='' memory='' shared=''
# shellcheck source-path=SCRIPTDIR source=state.sh
. "$(dirname "$0")/state.sh"

command=${1:-} file=${2:-}
[ $# -ge 2 ] || usage 'want a command and a file'
shift 2
while [ $# -gt 0 ]; do
	case $1 in
	--cnf) conf=${2:?} && shift ;;
	--restart) restart_command=${2:?} && shift ;;
	--target) target=${2:?} && shift ;;
	--memory) memory=${2:?} && shift ;;
	--shared) shared=yes ;;
	--accept-risk) accept=yes ;;
	*) usage "unknown option $1" ;;
	esac
	shift
done

# ask sends one statement.
ask() {
	# shellcheck disable=SC2086 # a client with its options
	${MYSQL:-mysql} --batch --skip-column-names --execute "$1" </dev/null
}

version=$(ask 'SELECT VERSION()') || die 'the server does not answer' 'MYSQL names the client with its options'
case $version in *MariaDB*) product=mariadb ;; *) product=mysql ;; esac
version=$(printf '%s' "$version" | sed 's/[^0-9.].*//')
[ -n "$target" ] || target=db-127.0.0.1:$(ask 'SELECT @@GLOBAL.port')

variable() { case $1 in *[!a-z0-9_]*) printf '%s' "$1" | tr 'A-Z-' 'a-z_' ;; *) printf '%s' "$1" ;; esac }

# keeps: the server can persist variables.
keeps() { [ "$product" = mysql ] && [ "${version%%.*}" -ge 8 ]; }

layers() { # KEY RESTART READS
	[ -z "$conf" ] || echo file
	if keeps && [ -z "$3" ]; then echo persist; fi
	if [ "$2" = no ]; then echo runtime; fi
}

file_of() { [ "$1" != file ] || printf '%s' "$conf"; }

refuse() { # KEY RESTART READS
	name=${3%%=*}
	name=$(variable "${name:-$1}")
	if [ -z "$(ask "SHOW GLOBAL VARIABLES WHERE Variable_name = '$name'")" ]; then
		echo "the server has no variable $name"
	elif [ -z "$conf" ] && [ "$2" != no ]; then
		echo 'it needs a file that the server reads at its start: --cnf FILE'
	fi
}

# limit is the memory of the control group, or of the machine.
limit() {
	for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do
		# shellcheck disable=SC2015 # no limit: the next
		[ -r "$f" ] && n=$(cat "$f") && [ "$n" != max ] && [ ${#n} -lt 17 ] && echo "$n" && return
	done
	awk '/^MemTotal/ {printf "%.0f\n", $2 * 1024}' /proc/meminfo
}

adjust() { # KEY TEXT
	text=$2
	case $text in
	*'% of memory'*)
		[ -n "$memory" ] || memory=$(limit)
		text=$(printf '%s\n' "$text" | awk -v bytes="$memory" -v shared="$shared" '{
			percent = $1 + 0
			if (shared && match($0, /[0-9]+% shared/)) percent = substr($0, RSTART) + 0
			n = bytes * percent / 100
			if (match($0, /at most [0-9]+[KMG]?/)) {
				most = substr($0, RSTART + 8, RLENGTH - 8)
				most *= most ~ /K/ ? 1024 : most ~ /M/ ? 1048576 : most ~ /G/ ? 1073741824 : 1
				if (n > most) n = most
			}
			n = int(n / 1048576); if (n < 64) n = 64
			printf "%.0f\n", n * 1048576
		}')
		;;
	esac
	# The server rounds its buffer pool to whole chunks.
	if [ "$(variable "$1")" = innodb_buffer_pool_size ]; then
		chunk=$(ask 'SELECT @@GLOBAL.innodb_buffer_pool_chunk_size')
		instances=1
		[ "$product" = mariadb ] || instances=$(ask 'SELECT @@GLOBAL.innodb_buffer_pool_instances')
		text=$(awk -v n="$text" -v c="$chunk" -v i="$instances" 'BEGIN { c *= i; if (c > 0) n = int((n + c - 1) / c) * c; printf "%.0f\n", n }')
	fi
	printf '%s' "$text"
}

get() { # LAYER KEY
	case $1 in
	file) option "${r_file:-$conf}" mysqld "$2" ;;
	persist)
		got=$(ask "SELECT CONCAT('value ', VARIABLE_VALUE) FROM performance_schema.persisted_variables WHERE VARIABLE_NAME = '$(variable "$2")'") || return 1
		printf '%s' "${got:-absent}"
		;;
	runtime)
		got=$(ask "SELECT @@GLOBAL.$(variable "$2")") || return 1
		printf 'value %s' "$got"
		;;
	esac
}

# literal is a value in SQL: numbers as numbers, sizes in bytes, all else as a string.
literal() {
	printf '%s\n' "$1" | awk '
		/^-?[0-9]+(\.[0-9]*)?$/ { print; exit }
		/^[0-9]+[KMGkmg]$/ { u = toupper($0); printf "%.0f\n", $0 * (u ~ /K/ ? 1024 : u ~ /M/ ? 1048576 : 1073741824); exit }
		{ gsub(/\047/, "\047\047"); print "\047" $0 "\047" }'
}

# put never uses DEFAULT: it gives the compiled value, not the file's.
put() { # LAYER KEY VALUE
	name=$(variable "$2")
	case $1$3 in
	file*) set_option "${r_file:-$conf}" mysqld "$2" "$3" ;;
	persistabsent) ask "RESET PERSIST IF EXISTS $name" ;;
	persist*) ask "SET PERSIST_ONLY $name = $(literal "${3#value }")" ;;
	*)
		ask "SET GLOBAL $name = $(literal "${3#value }")" || return 1
		[ "$name" != innodb_buffer_pool_size ] || wait_resized
		;;
	esac
}

# A buffer pool is resized in the background.
wait_resized() {
	for _ in $(seq 60); do
		case $(ask "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_resize_status'" | cut -f 2) in
		'' | Completed* | 'Size did not change'*) return 0 ;;
		esac
		sleep 1
	done
	return 1
}

settle() {
	if [ -z "$restart_command" ]; then
		say 'needs you' - - 'the files take effect after a restart of the server'
		return
	fi
	sh -c "$restart_command" || die "$restart_command: exit status $?" "$self revert restores the files"
	for _ in $(seq 60); do
		if ask 'SELECT 1' >"$tmp/answer" 2>&1; then
			say settled - - restarted
			return
		fi
		sleep 1
	done
	die 'the server does not answer after the restart' "its log has the reason; $self revert restores the files"
}

process() {
	pid=$(cat "$(ask 'SELECT @@GLOBAL.pid_file')" 2>/dev/null) && printf 'pid %s' "$pid"
	:
}

# check finds a server that was not restarted.
check() {
	if [ "$r_layer" = file ] && [ "$r_restart" != no ]; then
		name=${r_reads%%=*} want="value ${r_reads#*=}"
		[ -n "$r_reads" ] || { name=$(variable "$r_key") && want=$(current_of); }
		got="value $(ask "SELECT @@GLOBAL.$name")"
		same "$got" "$want" ||
			echo "the running server has $name=$(text_of "$got"), not $(text_of "$want"): it was not restarted, or something else sets it"
	fi
}

open_state
main "$command" "$file"
