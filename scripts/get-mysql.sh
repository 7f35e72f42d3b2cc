#!/bin/sh
# get-mysql.sh [DIR]: Oracle MySQL in a folder of its own (default .local/mysql beside scripts/).
#
# Debian 12 has no MySQL server package that installs, Debian sid has one. This makes a minimal sid in DIR with
# debootstrap (which needs root or sudo) and tries it out. The server in it then runs without root and without chroot:
#
#   DIR/lib64/ld-linux-x86-64.so.2 --library-path DIR/usr/lib/x86_64-linux-gnu DIR/usr/sbin/mysqld ...
#
# Packages come from the Debian mirror that this machine's apt uses. ISUKIT_DEBIAN_MIRROR=URL names another one.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=${1:-$root/.local/mysql}

say() { printf 'get-mysql: %s\n' "$*" >&2; }
fail() {
	say "error: $1"
	say "hint: $2"
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# run DIR COMMAND...: runs a program of the tree in DIR with the tree's own loader and libraries.
run() (
	tree=$1 program=$2
	shift 2
	loader=$(find "$tree/usr/lib64" "$tree/usr/lib" -maxdepth 1 -name 'ld-linux-*.so.*' 2>/dev/null | head -n 1)
	libraries=$(find "$tree/usr/lib" -maxdepth 1 -name '*-linux-gnu' | head -n 1)
	"$loader" --library-path "$libraries" "$tree/$program" "$@"
)

version() { run "$1" usr/sbin/mysqld --no-defaults --version 2>/dev/null | sed -n 's/.* Ver \([^ ]*\).*/\1/p'; }

# mirror prints the address from which apt on this machine takes Debian itself (not security, not another vendor).
mirror() {
	if [ -n "${ISUKIT_DEBIAN_MIRROR:-}" ]; then
		echo "$ISUKIT_DEBIAN_MIRROR"
		return
	fi
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		sed -n 's/^Debian //p' | head -n 1
}

if [ -x "$dir/usr/sbin/mysqld" ]; then
	exit 0
fi

command -v debootstrap >/dev/null 2>&1 || fail 'debootstrap is missing' 'sh scripts/setup.sh test'
from=$(mirror)
[ -n "$from" ] || fail 'apt on this machine has no Debian mirror' \
	'name one: ISUKIT_DEBIAN_MIRROR=URL sh scripts/get-mysql.sh'
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
	fail 'debootstrap needs root, and there is no sudo' 'as root: sh scripts/get-mysql.sh'

# Whoever comes second waits for the first.
mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
if [ -x "$dir/usr/sbin/mysqld" ]; then
	exit 0
fi

work=$dir.new
cleanup() { as_root rm -rf --one-file-system "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cleanup

say "a minimal Debian sid with mysql-server-core in $dir (about a minute, 600 MB)"
as_root debootstrap --variant=minbase --include=mysql-server-core,mysql-client-core sid "$work" "$from" \
	>"$dir.log" 2>&1 9>&- || {
	tail -n 5 "$dir.log" >&2
	fail "debootstrap failed; all it said is in $dir.log" 'check that the mirror has Debian sid'
}
as_root rm -rf "$work/var/cache/apt" "$work/var/lib/apt/lists" "$work/usr/share/doc" "$work/usr/share/man" \
	"$work/usr/share/locale" "$work/dev"
as_root chown -R "$(id -u):$(id -g)" "$work"
got=$(version "$work")
[ -n "$got" ] || fail "the server in $work does not run" "look into $dir.log"
rm -rf "$dir"
mv "$work" "$dir"
rm -f "$dir.log"
say "MySQL $got in $dir"
