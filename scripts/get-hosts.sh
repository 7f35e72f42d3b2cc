#!/bin/sh
# get-hosts.sh [DIR]: the files of a server, as a directory (default .local/hosts): a minimal Debian (or Ubuntu, where that is what
# runs here) with systemd, sshd, sudo, nginx, MariaDB and Envoy. "isukit lab up --systemd" and the tests boot hosts
# from it: each has an overlay over it, and the directory itself is never written to again.
#
# debootstrap makes it once (a minute and a half, 90 MB of packages, 400 MB on disk), and again when this script asks for something
# else. It needs root or sudo. Packages come from the mirror that this machine's apt uses; ISUKIT_MIRROR=URL names another one.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=${1:-$root/.local/hosts} name=get-hosts
# shellcheck source-path=SCRIPTDIR source=fetch.sh
. "$root/scripts/fetch.sh"
account=isucon # has sudo, as on the servers of a contest
packages=systemd-sysv,dbus,libpam-systemd,openssh-server,sudo,iproute2,iputils-ping,netbase,procps,psmisc,kmod,ca-certificates,tcpdump
packages=$packages,nginx,libnginx-mod-stream,mariadb-server-core,mariadb-client-core,mariadb-client # which dumps

vendor
suite=bookworm
[ "$vendor" = Debian ] || suite=$(release VERSION_CODENAME)
version="1 $vendor $suite $packages" # the number goes up when what is done below changes
ready() { [ "$(cat "$dir/etc/isukit-tree" 2>/dev/null)" = "$version" ]; }

if ready; then
	exit 0
fi
sh "$root/scripts/get-envoy.sh"
bootstrap "$suite" "$packages" "a server with systemd ($vendor $suite) in $dir (a minute and a half, 400 MB)"
# Each host gets an identity and keys of its own; nothing that isukit will place or start runs from the boot.
# shellcheck disable=SC2016 # that shell's variables
as_root sh -eu -c '
cd "$1"
rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/* dev/* etc/ssh/ssh_host_*
: >etc/machine-id
rm -f var/lib/dbus/machine-id
chroot . systemctl --quiet disable nginx
chroot . systemctl --quiet enable ssh
chroot . useradd -m -s /bin/bash -p "*" "$2"
echo "$2 ALL=(ALL) NOPASSWD: ALL" >etc/sudoers.d/"$2"
chmod 440 etc/sudoers.d/"$2"
cp "$3" usr/local/bin/envoy
printf "%s\n" "$4" >etc/isukit-tree
' sh "$work" "$account" "$root/.local/envoy/bin/envoy" "$version" >>"$dir.log" 2>&1 ||
	fail "the tree in $work could not be made a host's; what went wrong is in $dir.log" 'fix that and run this again'
[ ! -e "$dir" ] || as_root rm -rf --one-file-system "$dir"
mv "$work" "$dir" 2>/dev/null || as_root mv "$work" "$dir"
rm -f "$dir.log"
say "$(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' "$dir/etc/os-release") in $dir"
