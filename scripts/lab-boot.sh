#!/bin/sh
# lab-boot.sh NAME ADDRESS LINK ROOM TREE INIT GROUP...: makes a host of the lab that boots systemd, out of the network, mount and
# UTS namespaces that it is started in; says "ready", and boots the host, again whenever its first process has ended, until it is killed.
#
#   NAME     host name
#   ADDRESS  with its prefix length
#   LINK     the address of its network device
#   ROOM     a directory for what the host writes: an overlay over TREE, authorized_keys with the keys that may log in
#   TREE     the files of a server (get-hosts.sh), which are not written to
#   INIT     lab-init.sh
#   GROUP    the host's control groups, one in each hierarchy
#
# It begins when a line comes in, and ends when the input does without one: what nobody has on record must not live.
# This network namespace outlives the host's, which ends with each boot as a real kernel's network does: here is only the cable.
set -eu
read -r _ || exit 125

name=$1 address=$2 link=$3 room=$4 tree=$5 init=$6
shift 6

ip link set lo up
ip link add br0 type bridge
ip link set br0 up
ip link set eth0 master br0 up

# (Relative paths: the options of overlay cannot hold every character of an absolute one.)
cd "$room"
mkdir -p up work root tree
mount --bind "$tree" tree
if ! mount -t overlay -o lowerdir=tree,upperdir=up,workdir=work isukit root 2>/dev/null; then
	mount -t tmpfs isukit . # where ROOM is an overlay itself, what is written is in memory
	cd "$room"
	mkdir up work root tree
	mount --bind "$tree" tree
	mount -t overlay -o lowerdir=tree,upperdir=up,workdir=work isukit root
fi

# Before its first boot the host gets what is its own.
if [ ! -e root/etc/ssh/ssh_host_ed25519_key ]; then
	printf '%s\n' "$name" >root/etc/hostname
	printf '127.0.0.1 localhost %s\n::1 localhost\n' "$name" >root/etc/hosts
	tr -d - </proc/sys/kernel/random/uuid >root/etc/machine-id
	# No disk, console or other thing is here that these make units for; they would all run at each boot and each reload of units.
	rm -f root/usr/lib/systemd/system-generators/systemd-[!s]*
	echo 'HostKey /etc/ssh/ssh_host_ed25519_key' >root/etc/ssh/sshd_config.d/host.conf
	mkdir -p root/root/.ssh root/home/isucon/.ssh
	chmod 700 root/root/.ssh root/home/isucon/.ssh
	cp authorized_keys root/root/.ssh/authorized_keys
	cp authorized_keys root/home/isucon/.ssh/authorized_keys
	chroot root chown -R isucon: /home/isucon/.ssh
	mount --bind /dev root/dev
	chroot root ssh-keygen -q -t ed25519 -N '' -C "$name" -f /etc/ssh/ssh_host_ed25519_key </dev/null
	umount root/dev
fi

echo ready
exec </dev/null >boot.log 2>&1
while :; do
	ip link del host 2>/dev/null || :
	unshare --net --mount --uts --ipc --propagation private sh "$init" net "$init" "$name" "$address" "$link" "$PWD/root" "$@" || :
	sleep 0.2
done
