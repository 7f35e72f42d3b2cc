#!/bin/sh
# team.sh KIND VERB NAME: one thing that a team wants on a bare host, as root. It is what `isukit hosts init` runs there.
#
#   KIND  user   an account of that name, with a home
#         key    a line of NAME's ~/.ssh/authorized_keys, from standard input
#         sudo   NAME may become root without a password
#         config /etc/ssh/ssh_config.d/NAME, from standard input
#         tool   a package of Debian or Ubuntu
#   VERB  look   prints "there", "absent", or, of a file with another text, "other"
#         plan   of a tool: lists the packages that come with it, one per line
#         add    makes it so
#         del    takes it away: of a user the home, too; of a tool those of the packages in standard input that nothing else needs
set -eu
kind=$1 verb=$2 name=$3
PATH=$PATH:/usr/sbin:/sbin

home() { getent passwd "$name" | cut -d: -f6; }

# file PATH MODE: a file whose text is standard input.
file() {
	case $verb in
	look)
		if [ ! -e "$1" ]; then echo absent; elif cmp -s - "$1"; then echo there; else echo other; fi
		;;
	add)
		umask 077
		[ -d "$(dirname "$1")" ] || mkdir -m 755 "$(dirname "$1")"
		cat >"$1.isukit-new"
		if [ "$kind" = sudo ] && command -v visudo >/dev/null && ! visudo -cqf "$1.isukit-new"; then
			rm -f "$1.isukit-new"
			exit 1
		fi
		chmod "$2" "$1.isukit-new"
		mv -f "$1.isukit-new" "$1"
		;;
	del) rm -f "$1" ;;
	esac
}

user() {
	case $verb in
	look) if getent passwd "$name" >/dev/null; then echo there; else echo absent; fi ;;
	add) useradd --password '*' --create-home --shell /bin/bash "$name" ;;
	del) if getent passwd "$name" >/dev/null; then remove; fi ;;
	esac
}

# remove an account. After a logout some processes stay for a moment: the connection's last one, and the manager that
# systemd keeps for some seconds, which this stops when no session is left.
remove() {
	tries=0
	until words=$(userdel --remove "$name" 2>&1); do
		tries=$((tries + 1))
		if [ "$tries" -gt 20 ]; then
			echo "$words" >&2
			return 1
		fi
		case $(loginctl show-user --property=State --value "$name" 2>/dev/null) in
		closing) systemctl stop "user@$(id -u "$name").service" 2>/dev/null || true ;;
		esac
		sleep 0.25
	done
}

key() {
	line=$(cat) dir=$(home)/.ssh
	keys=$dir/authorized_keys
	case $verb in
	look) if grep -qxF -- "$line" "$keys" 2>/dev/null; then echo there; else echo absent; fi ;;
	add)
		umask 077
		group=$(id -g "$name")
		[ -d "$dir" ] || install -d -m 700 -o "$name" -g "$group" "$dir"
		[ -e "$keys" ] || install -m 600 -o "$name" -g "$group" /dev/null "$keys"
		[ -z "$(tail -c 1 "$keys")" ] || echo >>"$keys"
		printf '%s\n' "$line" >>"$keys"
		;;
	del)
		[ -e "$keys" ] || return 0
		rest=$(grep -vxF -- "$line" "$keys") || true
		if [ -n "$rest" ]; then printf '%s\n' "$rest" >"$keys"; else rm -f "$keys"; fi
		;;
	esac
}

# status of a package; nothing where dpkg does not know it.
status() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || :; }

tool() {
	export DEBIAN_FRONTEND=noninteractive
	case $verb in
	look) if [ "$(status "$name")" = installed ]; then echo there; else echo absent; fi ;;
	plan)
		apt-cache show "$name" >/dev/null 2>&1 || apt-get update -qq >&2
		plan=$(apt-get install -s -qq -y --no-install-recommends "$name")
		# One that is there already, and would be upgraded, has its version in brackets.
		printf '%s\n' "$plan" | sed -n 's/^Inst \([^ ]*\) [^[].*/\1/p' | grep -vxF -- "$name" || :
		;;
	add) apt-get install -qq -y --no-install-recommends "$name" >&2 ;;
	del)
		case $(status "$name") in '' | not-installed) ;; *) apt-get purge -qq -y "$name" >&2 ;; esac
		came=$(cat)
		[ -n "$came" ] || return 0
		free=$(apt-get autoremove -s -qq --purge | sed -n 's/^\(Purg\|Remv\) \([^ ]*\).*/\2/p' | grep -xF -- "$came" || :)
		# shellcheck disable=SC2086 # names of packages
		[ -z "$free" ] || apt-get purge -qq -y $free >&2
		;;
	esac
}

case $kind in
user | key | tool) $kind ;;
sudo) printf '%s ALL=(ALL) NOPASSWD: ALL\n' "$name" | file "/etc/sudoers.d/isukit-$name" 440 ;;
config) file "/etc/ssh/ssh_config.d/$name" 644 ;;
*)
	echo "team.sh: error: unknown kind $kind" >&2
	exit 2
	;;
esac
