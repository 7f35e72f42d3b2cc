#!/bin/sh
# lab-host.sh NAME ADDRESS ROOM: makes a host of the lab out of the network, mount and UTS namespaces that it is
# started in, says "ready", and keeps them until it is killed.
#
#   NAME     host name
#   ADDRESS  with its prefix length, for eth0, which must be there
#   ROOM     an empty directory; in this mount namespace it becomes a place for what is written to /etc
#
# It begins when a line comes in, and ends when the input does without one: what nobody has on record must not live.
set -eu
read -r _ || exit 125

name=$1 address=$2 room=$3

printf '%s\n' "$name" >/proc/sys/kernel/hostname
ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up

# /etc is the machine's with changes of this host's own, which are gone with it. (Relative paths: the options of overlay
# cannot hold every character of an absolute one.)
mount -t tmpfs -o mode=755 isukit "$room"
cd "$room"
mkdir etc work cgroup
mount -t overlay -o lowerdir=/etc,upperdir=etc,workdir=work isukit /etc
printf '%s\n' "$name" >/etc/hostname

# /sys shows the devices of the network namespace in which it was mounted.
mount --rbind /sys/fs/cgroup cgroup
mount -t sysfs sysfs /sys
mount --rbind cgroup /sys/fs/cgroup
umount -l cgroup

# Settings outside of net are the machine's: here they can only be read.
for settings in /proc/sys/*; do
	case $settings in
	*/net) ;;
	*) mount --bind -o ro "$settings" "$settings" ;;
	esac
done

cd "$room/.."
echo ready
exec </dev/null >/dev/null 2>&1
exec sleep 2147483647
