#!/bin/sh
# lab-init.sh STEP INIT NAME ADDRESS LINK ROOT GROUP...: boots a host of the lab, see lab-boot.sh, whose child it is. INIT is this file;
# STEP is net, in namespaces of the network, mounts, UTS and IPC; then pid, as the first process of a namespace of processes; then
# cgroup, in one of control groups as well. In the end it becomes the systemd in ROOT.
#
# /sys, and /proc/sys except for net, are read-only: systemd then neither starts udev nor writes this machine's settings.
set -eu
step=$1 init=$2 name=$3 address=$4 link=$5 root=$6

case $step in
net)
	ip link set lo up
	ip link add eth0 address "$link" type veth peer name host netns "/proc/$PPID/ns/net"
	nsenter --net="/proc/$PPID/ns/net" ip link set host master br0 up
	ip address add "$address" dev eth0
	ip link set eth0 up
	shift
	exec unshare --pid --fork --kill-child sh "$init" pid "$@"
	;;
pid)
	shift 6
	# 0 is the writing process, whose number is another one outside.
	for group in "$@"; do echo 0 >"$group/cgroup.procs"; done
	group=$(basename "$1")
	grep "/$group\$" /proc/self/cgroup >"$root/../groups"
	exec unshare --cgroup sh "$init" cgroup "$init" "$name" "$address" "$link" "$root"
	;;
esac

cd "$root"
printf '%s\n' "$name" >/proc/sys/kernel/hostname
mount -t proc proc proc
cat proc/sys/kernel/random/uuid >../boot_id
mount --bind ../boot_id proc/sys/kernel/random/boot_id
mount --rbind proc/sys proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,ro proc/sys
if [ -e proc/sysrq-trigger ]; then
	mount --bind proc/sysrq-trigger proc/sysrq-trigger
	mount -o remount,bind,ro proc/sysrq-trigger
fi

mount -t sysfs -o ro sysfs sys
# The hierarchies of version 1, each as this machine has it, and that of version 2 next to them; or only the one of version 2. The root
# of each is the host's group: without one of version 2 an option keeps systemd from using it, since it would share it with all others.
if grep -q '^[1-9]' ../groups; then
	mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
	while IFS=: read -r number list _; do
		if [ "$number" = 0 ]; then
			mkdir sys/fs/cgroup/unified
			mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
			continue
		fi
		case $list in
		name=*) dir=${list#name=} option=none,$list ;;
		*) dir=$list option=$list ;;
		esac
		mkdir "sys/fs/cgroup/$dir"
		mount -t cgroup -o "$option" cgroup "sys/fs/cgroup/$dir"
		case $list in
		*,*) for one in $(echo "$list" | tr , ' '); do ln -s "$dir" "sys/fs/cgroup/$one"; done ;;
		esac
	done <../groups
else
	mount -t cgroup2 cgroup2 sys/fs/cgroup
fi

mount -t tmpfs -o mode=755,nosuid tmpfs dev
for device in null:3 zero:5 full:7 random:8 urandom:9; do
	mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run

legacy=
grep -q '^0:' ../groups || legacy=systemd.legacy_systemd_cgroup_controller=1
mkdir -p .old
pivot_root . .old
cd /
# shellcheck disable=SC2016 # $1 is the inner shell's
exec env -i container=isukit TERM=linux PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	sh -c 'umount -l /.old; rmdir /.old; exec /sbin/init $1 </dev/null >/run/pid1.log 2>&1' sh $legacy
