#!/bin/sh
# get-mysql.sh [mysql|mariadb [DIR]]: a database server in a folder of its own, apart from the system's.
#
#   mysql    (default) Oracle MySQL, into .local/mysql. Debian 12 has no package of it that installs, Debian sid has one.
#   mariadb  MariaDB, into .local/mariadb, for a system whose packages let only one of the two be installed (Ubuntu).
#
# Where the system's own packages have put that server on PATH, and no DIR is named, there is nothing to do. Otherwise
# debootstrap (which needs root or sudo) makes a minimal system in DIR, and the server in it is tried out. It then runs
# without root and without chroot:
#
#   DIR/lib64/ld-linux-x86-64.so.2 --library-path DIR/usr/lib/x86_64-linux-gnu DIR/usr/sbin/mysqld ...
#
# Packages come from the mirror that this machine's apt uses. ISUKIT_MIRROR=URL names another one.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
engine=${1:-mysql}
dir=${2:-$root/.local/$engine}

say() { printf 'get-mysql: %s\n' "$*" >&2; }
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

# installed tells whether the system's own packages have the server. mysqld is MariaDB's on some.
installed() {
	case $engine in
	mysql) mysqld --no-defaults --version 2>/dev/null | grep -qv MariaDB ;;
	mariadb) command -v mariadbd >/dev/null 2>&1 ;;
	esac
}

# run DIR COMMAND...: runs a program of the tree in DIR with the tree's own loader and libraries.
run() (
	tree=$1 program=$2
	shift 2
	loader=$(find "$tree/usr/lib64" "$tree/usr/lib" -maxdepth 1 -name 'ld-linux-*.so.*' 2>/dev/null | head -n 1)
	libraries=$(find "$tree/usr/lib" -maxdepth 1 -name '*-linux-gnu' | head -n 1)
	"$loader" --library-path "$libraries" "$tree/$program" "$@"
)

version() { run "$1" "$server" --no-defaults --version 2>/dev/null | sed -n 's/.* Ver \([^ ]*\).*/\1/p'; }

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
ubuntu) vendor=Ubuntu components=main,universe ;;
*) vendor=Debian components=main ;;
esac
case $engine in
mysql)
	server=usr/sbin/mysqld packages=mysql-server-core,mysql-client-core suite=sid
	[ "$vendor" = Debian ] || suite=$(release VERSION_CODENAME)
	;;
mariadb)
	server=usr/sbin/mariadbd packages=mariadb-server-core suite=$(release VERSION_CODENAME)
	;;
*)
	say "error: unknown engine '$engine'"
	say 'hint: get-mysql.sh [mysql|mariadb [DIR]]'
	exit 2
	;;
esac

if [ -x "$dir/$server" ]; then
	exit 0
fi
if [ $# -lt 2 ] && installed; then
	exit 0
fi

command -v debootstrap >/dev/null 2>&1 || sh "$root/scripts/setup.sh" debootstrap ||
	fail 'debootstrap is missing' 'install it and run this again'
from=$(mirror "$vendor")
[ -n "$from" ] || fail "apt on this machine has no $vendor mirror" \
	"name one: ISUKIT_MIRROR=URL sh scripts/get-mysql.sh $engine"
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
	fail 'debootstrap needs root, but sudo was not found' "as root: sh scripts/get-mysql.sh $engine"

# A second one waits for the first.
mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
if [ -x "$dir/$server" ]; then
	exit 0
fi

work=$dir.new
cleanup() { [ ! -e "$work" ] || as_root rm -rf --one-file-system "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cleanup

say "a minimal $vendor $suite with $packages in $dir (about a minute, up to 600 MB)"
as_root debootstrap --variant=minbase --components="$components" --include="$packages" "$suite" "$work" "$from" \
	>"$dir.log" 2>&1 9>&- || {
	tail -n 5 "$dir.log" >&2
	fail "debootstrap failed; all it said is in $dir.log" "check that the mirror has $vendor $suite"
}
as_root rm -rf "$work/var/cache/apt" "$work/var/lib/apt/lists" "$work/usr/share/doc" "$work/usr/share/man" \
	"$work/usr/share/locale" "$work/dev"
as_root chown -R "$(id -u):$(id -g)" "$work"
got=$(version "$work")
[ -n "$got" ] || fail "the server in $work does not run" "look into $dir.log"
rm -rf "$dir"
mv "$work" "$dir"
rm -f "$dir.log"
say "$engine $got in $dir"
