#!/bin/sh
# sysctl.sh apply|verify|revert FILE [--file CONF] [--target NAME] [--accept-risk]: a tuning of the kernel, without isukit.
# FILE is one of scripts/sysctl/. --file also writes the settings for the next boot, to /etc/sysctl.d/99-isukit.conf.
# It needs root and changes the kernel of the network namespace that it runs in. Exit status: 3 when verify finds a difference.
# shellcheck disable=SC2317 # functions are called by state.sh
set -u
self=sysctl.sh kind=sysctl target=$(uname -n | cut -d . -f 1) conf='' accept=''
# shellcheck source-path=SCRIPTDIR source=state.sh
. "$(dirname "$0")/state.sh"

command=${1:-} file=${2:-}
[ $# -ge 2 ] || usage 'want a command and a file'
shift 2
while [ $# -gt 0 ]; do
	case $1 in
	--file) conf=${2:?} && shift ;;
	--target) target=${2:?} && shift ;;
	--accept-risk) accept=yes ;;
	*) usage "unknown option $1" ;;
	esac
	shift
done
product=linux version=$(uname -r | sed 's/[^0-9.].*//')

path_of() { # KEY
	case $1 in /sys/*) printf '%s' "$1" ;; *) printf '/proc/sys/%s' "$(printf '%s' "$1" | tr . /)" ;; esac
}

layers() {
	case $1 in /sys/*) ;; *) [ -z "$conf" ] || echo file ;; esac
	echo runtime
}

file_of() { [ "$1" != file ] || printf '%s' "$conf"; }

refuse() {
	path=$(path_of "$1")
	if [ ! -e "$path" ]; then
		echo "this kernel has no $path"
	elif [ ! -w "$path" ]; then
		echo 'it needs root'
	fi
}

adjust() { printf '%s' "$2"; }

get() { # LAYER KEY
	if [ "$1" = file ]; then
		option "${r_file:-$conf}" '' "$2"
		return
	fi
	text=$(tr -s '[:space:]' ' ' <"$(path_of "$2")") || return 1
	text=${text% }
	case $2 in /sys/*) case $text in *'['*) text=${text#*'['} text=${text%%']'*} ;; esac ;; esac
	printf 'value %s' "$text"
}

# The kernel's answer to a write is not enough: the caller reads back.
put() { # LAYER KEY VALUE
	if [ "$1" = file ]; then
		set_option "${r_file:-$conf}" '' "$2" "$3"
	else
		printf '%s\n' "${3#value }" >"$(path_of "$2")"
	fi
}

settle() { :; }
process() { :; }
check() { :; }

open_state
main "$command" "$file"
