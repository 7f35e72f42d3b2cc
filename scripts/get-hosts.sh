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
dir=${1:-$root/.local/hosts}
account=isucon # has sudo, as on the servers of a contest
packages=systemd-sysv,dbus,libpam-systemd,openssh-server,sudo,iproute2,iputils-ping,netbase,procps,psmisc,kmod,ca-certificates,tcpdump
packages=$packages,nginx,libnginx-mod-stream,mariadb-server-core,mariadb-client-core,mariadb-client # which dumps

say() { printf 'get-hosts: %s\n' "$*" >&2; }
fail() {
	say "error: $1"
	say "hint: $2"
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# release prints a field of the system's description, e.g. ID or VERSION_CODENAME.
release() { sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" /etc/os-release 2>/dev/null; }

# mirror prints the address from which apt on this machine takes the vendor $1 (not its security updates).
mirror() {
	if [ -n "${ISUKIT_MIRROR:-}" ]; then
		echo "$ISUKIT_MIRROR"
		return
	fi
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		sed -n "s/^$1 //p" | head -n 1
}

case $(release ID) in
ubuntu) vendor=Ubuntu components=main,universe suite=$(release VERSION_CODENAME) ;;
*) vendor=Debian components=main suite=bookworm ;;
esac
version="1 $vendor $suite $packages" # the number goes up when what is done below changes
ready() { [ "$(cat "$dir/etc/isukit-tree" 2>/dev/null)" = "$version" ]; }

if ready; then
	exit 0
fi
command -v debootstrap >/dev/null 2>&1 || sh "$root/scripts/setup.sh" debootstrap ||
	fail 'debootstrap is missing' 'install it and run this again'
from=$(mirror "$vendor")
[ -n "$from" ] || fail "apt on this machine has no $vendor mirror" 'name one: ISUKIT_MIRROR=URL sh scripts/get-hosts.sh'
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
	fail 'debootstrap needs root, but sudo was not found' 'as root: sh scripts/get-hosts.sh'
sh "$root/scripts/get-envoy.sh"

# A second one waits for the first.
mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
if ready; then
	exit 0
fi

work=$dir.new
cleanup() { [ ! -e "$work" ] || as_root rm -rf --one-file-system "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cleanup

say "a server with systemd ($vendor $suite) in $dir (a minute and a half, 400 MB)"
as_root debootstrap --variant=minbase --components="$components" --include="$packages" "$suite" "$work" "$from" \
	>"$dir.log" 2>&1 9>&- || {
	tail -n 5 "$dir.log" >&2
	fail "debootstrap failed; all it said is in $dir.log" "check that the mirror has $vendor $suite"
}
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
