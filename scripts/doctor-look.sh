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
	for p in "$R"/proc/[0-9]*; do
		read -r stat 2>/dev/null <"$p/stat" && echo "@stat$1 $stat"
	done
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
own=$(readlink "$R/proc/self/ns/net" 2>/dev/null)
for p in "$R"/proc/[0-9]*; do
	pid=${p##*/}
	[ -z "$only" ] || [ "$(readlink "$p/ns/net" 2>/dev/null)" = "$own" ] || continue
	soft=
	while read -r a b c s h rest; do
		case "$a $b $c" in "Max open files") soft=$s hard=$h ;; esac
	done 2>/dev/null <"$p/limits"
	[ -n "$soft" ] || continue
	files=-1
	if [ -r "$p/fd" ] && [ -x "$p/fd" ]; then
		set -- "$p"/fd/*
		files=$#
	fi
	echo "@process $pid $files $soft $hard"
	uid="" unit="" gid="" gids=""
	while read -r k v rest; do
		case $k in Uid:) uid=$v ;; Groups:) gids="$v $rest" ;; Gid:) gid=$v ;; esac
	done 2>/dev/null <"$p/status"
	echo "@user $pid $uid $gid $gids"
	while read -r line; do
		line=${line##*/}
		case $line in *.service) unit=$line ;; esac
	done 2>/dev/null <"$p/cgroup"
	[ -z "$unit" ] || echo "@unit $pid $unit"
	read -r name 2>/dev/null <"$p/comm" || continue
	case $name in nginx | envoy | mysqld | mariadbd | isukit-app) ;; *) continue ;; esac
	echo "@argv $pid $(tr '\0' '\037' <"$p/cmdline" 2>/dev/null)"
	echo "@dir $pid $(readlink "$p/cwd" 2>/dev/null)"
	echo "@profile $pid $(cat "$p/attr/current" 2>/dev/null)"
	[ -z "$unit" ] || echo "@protecthome $pid $(systemctl show -p ProtectHome --value "$unit" 2>/dev/null)"
	limits "$pid"
	dirs="$dirs $(readlink "$p/cwd" 2>/dev/null)"
done
while read -r k v rest; do
	case $k in MemTotal: | SwapTotal: | SwapFree:) echo "@mem $k $v" ;; esac
done 2>/dev/null <"$R/proc/meminfo"
if have ip; then
	ip -o link show 2>/dev/null | sed 's/^/@link /'
	ip -o -4 addr show 2>/dev/null | sed 's/^/@addr /'
fi
if have tc && have ip; then
	for dev in $(ip -o link show 2>/dev/null | sed 's/^[0-9]*: \([^:@]*\).*/\1/'); do
		[ "$dev" = lo ] || tc filter show dev "$dev" egress 2>/dev/null | grep ' bpf ' | sed "s/^/@egress $dev /"
	done
fi
# shellcheck disable=SC2086 # dirs are words
df -Pk / /var /tmp $dirs 2>/dev/null | sed 's/^/@df /'
# shellcheck disable=SC2086
df -Pi / /var /tmp $dirs 2>/dev/null | sed 's/^/@dfi /'
echo "@cmdline $(cat "$R/proc/cmdline" 2>/dev/null)"
cat "$R/etc/default/grub" "$R"/etc/default/grub.d/*.cfg 2>/dev/null | grep '^GRUB_CMDLINE_LINUX' | sed 's/^/@grub /'
for f in "$R"/sys/devices/system/cpu/vulnerabilities/*; do
	read -r v 2>/dev/null <"$f" && echo "@cpu ${f##*/} $v"
done
read -r v 2>/dev/null <"$R/sys/module/apparmor/parameters/enabled" && echo "@apparmor $v"
date +'@time %s.%N'
