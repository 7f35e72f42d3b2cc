#!/bin/sh
# What isukit doctor reads on a host: run by hand it shows the same. $1 is the root of the files, "" but in tests; $2 is for how
# many seconds to look; $3 "own" leaves out the processes of other network namespaces. It changes nothing. Lines begin with @ and a word; what a host has not, or does not let be read, is left out.
R=$1
only=$3
PATH=$PATH:/usr/sbin:/sbin
have() { command -v "$1" >/dev/null 2>&1; }
counters() {
	while read -r k v; do case $k in pswpin | pswpout) echo "@vm$1 $k $v" ;; esac done 2>/dev/null <"$R/proc/vmstat"
	for f in snmp netstat; do
		while read -r k v; do case $k in Ip: | IpExt:) echo "@ip$1 $k $v" ;; esac done 2>/dev/null <"$R/proc/net/$f"
	done
	head -qn 1 "$R"/proc/[0-9]*/stat 2>/dev/null | sed "s/^/@stat$1 /"
}
# The memory limits of a process's control groups, of both versions, up to the root.
limits() {
	while IFS=: read -r _ controllers group; do
		case ,$controllers, in *,memory,*) base=$R/sys/fs/cgroup/memory ;; ,,) base=$R/sys/fs/cgroup ;; *) continue ;; esac
		group=${group%/}
		while :; do
			for f in "$base$group/memory.max" "$base$group/memory.limit_in_bytes"; do
				read -r limit 2>/dev/null <"$f" && echo "@limit $1 $limit"
			done
			[ -n "$group" ] || break
			group=${group%/*}
		done
	done 2>/dev/null <"$R/proc/$1/cgroup"
}
counters 1
date +'@time %s.%N'
sleep "$2"
counters 2
date +'@time %s.%N'
count() { files=$#; }
# A shell reads byte by byte and starts a process for each name that it asks for: one command reads the files of all processes.
for p in "$R"/proc/[0-9]*; do
	# shellcheck disable=SC3013 # dash, bash and busybox have -ef
	[ -z "$only" ] || [ "$p/ns/net" -ef "$R/proc/self/ns/net" ] || continue
	pid=${p##*/}
	files=-1
	[ -r "$p/fd" ] && [ -x "$p/fd" ] && count "$p"/fd/*
	echo "@process $pid $files"
	read -r name 2>/dev/null <"$p/comm" || continue
	case $name in nginx | envoy | mysqld | mariadbd | isukit-app) ;; *) continue ;; esac
	unit='' profile=''
	while read -r group; do case $group in *.service) unit=${group##*/} ;; esac done 2>/dev/null <"$p/cgroup"
	read -r profile 2>/dev/null <"$p/attr/current"
	dir=$(readlink "$p/cwd" 2>/dev/null)
	echo "@argv $pid $(tr '\0' '\037' <"$p/cmdline" 2>/dev/null)"
	echo "@dir $pid $dir"
	echo "@profile $pid $profile"
	[ -z "$unit" ] || echo "@protecthome $pid $(systemctl show -p ProtectHome --value "$unit" 2>/dev/null)"
	limits "$pid"
	dirs="$dirs $dir"
done
grep -sE '^(Max open files|Uid:|G[a-z]*:)|\.service$' /dev/null "$R"/proc/[0-9]*/limits "$R"/proc/[0-9]*/status "$R"/proc/[0-9]*/cgroup | sed -n '
	s,^.*/\([0-9]*\)/limits:Max open files *\([^ ]*\) *\([^ ]*\).*,@limits \1 \2 \3,p
	s,^.*/\([0-9]*\)/status:Uid:[^0-9]*\([0-9]*\).*,@uid \1 \2,p
	s,^.*/\([0-9]*\)/status:G[a-z]*:[^0-9]*\([0-9 ]*\).*,@gids \1 \2,p
	s,^.*/\([0-9]*\)/cgroup:.*/\([^/]*\.service\)$,@unit \1 \2,p'
while read -r k v rest; do
	case $k in MemTotal: | SwapTotal: | SwapFree:) echo "@mem $k $v" ;; esac
done 2>/dev/null <"$R/proc/meminfo"
links=''
if have ip; then
	links=$(ip -o link show 2>/dev/null)
	[ -z "$links" ] || printf '%s\n' "$links" | sed 's/^/@link /'
	ip -o -4 addr show 2>/dev/null | sed 's/^/@addr /'
fi
if have tc && [ -n "$links" ]; then
	printf '%s\n' "$links" | while read -r _ dev _; do
		dev=${dev%%[:@]*}
		[ "$dev" = lo ] || tc filter show dev "$dev" egress 2>/dev/null | grep ' bpf ' | sed "s/^/@egress $dev /"
	done
fi
# shellcheck disable=SC2086 # dirs are words
df -Pk / /var /tmp $dirs 2>/dev/null | sed 's/^/@df /'
# shellcheck disable=SC2086
df -Pi / /var /tmp $dirs 2>/dev/null | sed 's/^/@dfi /'
read -r v 2>/dev/null <"$R/proc/cmdline" && echo "@cmdline $v"
sed -n 's/^GRUB_CMDLINE_LINUX/@grub &/p' "$R/etc/default/grub" "$R"/etc/default/grub.d/*.cfg 2>/dev/null
for f in "$R"/sys/devices/system/cpu/vulnerabilities/*; do
	read -r v 2>/dev/null <"$f" && echo "@cpu ${f##*/} $v"
done
read -r v 2>/dev/null <"$R/sys/module/apparmor/parameters/enabled" && echo "@apparmor $v"
date +'@time %s.%N'
