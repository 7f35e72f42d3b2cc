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
dir=${2:-$root/.local/$engine} name=get-mysql
# shellcheck source-path=SCRIPTDIR source=fetch.sh
. "$root/scripts/fetch.sh"

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

vendor
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

ready() { [ -x "$dir/$server" ]; }
if ready; then
	exit 0
fi
if [ $# -lt 2 ] && installed; then
	exit 0
fi

bootstrap "$suite" "$packages" "a minimal $vendor $suite with $packages in $dir (about a minute, up to 600 MB)"
as_root rm -rf "$work/var/cache/apt" "$work/var/lib/apt/lists" "$work/usr/share/doc" "$work/usr/share/man" \
	"$work/usr/share/locale" "$work/dev"
as_root chown -R "$(id -u):$(id -g)" "$work"
got=$(version "$work")
[ -n "$got" ] || fail "the server in $work does not run" "look into $dir.log"
rm -rf "$dir"
mv "$work" "$dir"
rm -f "$dir.log"
say "$engine $got in $dir"
