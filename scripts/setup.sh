#!/bin/sh
# setup.sh [run|test|pip|debootstrap]: installs what isukit needs, through apt.
#
#   run          (default) what a round needs: nginx and a MySQL or MariaDB server
#   test         that, and what the tests need
#   pip          what get-envoy.sh fetches Envoy with
#   debootstrap  what get-mysql.sh fetches a database server with
#
# It looks for commands first and exits if none is missing. It prints what it installs before it does.
# No service is left running or enabled that was not there before: isukit starts private servers of its own.
# Without apt, or without root and sudo, it prints what is missing and how to get it, and exits 1.
set -eu

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
policy=/usr/sbin/policy-rc.d
saved=$policy.isukit-saved
marker='# isukit setup: no service starts while packages are installed'

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# shellcheck source=/dev/null
distribution() { (. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}"); }

# On Debian and Ubuntu the -core packages hold the same server without its service, users or configuration.
database_packages() {
	case " $(distribution) " in
	*ubuntu*) echo 'mysql-server-core mysql-server-core-8.4 mysql-server-core-8.0 mysql-server' ;;
	*) echo 'mariadb-server-core+mariadb-client-core mariadb-server' ;;
	esac
}

# have_stream: nginx's module stream is built in, or installed with its other modules.
have_stream() {
	nginx -V 2>&1 | grep -q -e '--with-stream\( \|$\)' && return 0
	for f in /usr/lib*/nginx/modules/ngx_stream_module.so; do [ ! -e "$f" ] || return 0; done
	return 1
}

# missing prints one line for each thing that is not there: "WHAT PACKAGE...", the packages in order of preference.
missing() {
	if [ "$1" = pip ] || [ "$1" = test ]; then
		python3 -m pip --version >/dev/null 2>&1 || echo 'pip python3-pip'
	fi
	if [ "$1" = debootstrap ] || [ "$1" = test ]; then
		have debootstrap || echo 'debootstrap debootstrap'
		# debootstrap verifies the packages of a Debian release with these keys; Ubuntu does not have them by default.
		[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo 'debian-keys debian-archive-keyring'
	fi
	[ "$1" = run ] || [ "$1" = test ] || return 0
	have nginx || echo 'nginx nginx'
	have mariadbd || have mysqld || echo "database $(database_packages)"
	[ "$1" = test ] || return 0
	have chromium || have chromium-browser || have google-chrome || echo 'chromium chromium chromium-browser'
	have apache2 || echo 'apache2 apache2-bin'
	have h2o || echo 'h2o h2o'
	have_stream || echo 'nginx-stream libnginx-mod-stream'
	have ip || echo 'ip iproute2'
	have nft || echo 'nft nftables'
	have sysctl || echo 'sysctl procps'
	have openssl || echo 'openssl openssl'
	have curl || echo 'curl curl'
	have man || echo 'man man-db'
	have script || echo 'script bsdutils'
	have sshd || echo 'sshd openssh-server'
	have ssh || echo 'ssh openssh-client'
	have sudo || echo 'sudo sudo'
	have systemd-analyze || echo 'systemd-analyze systemd'
	have protoc || echo 'protoc protobuf-compiler'
	have tshark || echo 'tshark tshark'
	have tcpdump || echo 'tcpdump tcpdump'
	have pt-table-sync || echo 'pt-table-sync percona-toolkit'
	have shellcheck || echo 'shellcheck shellcheck'
}

# choose prints the first of the given packages (a+b: both together) that apt can install.
choose() {
	for choice in "$@"; do
		first=${choice%%+*}
		if apt-cache policy "$first" 2>/dev/null | grep -q '^  Candidate: [^(]'; then
			printf '%s\n' "$choice" | tr '+' ' '
			return 0
		fi
	done
	return 1
}

# packages turns the lines of missing into package names.
packages() {
	while read -r what choices; do
		# shellcheck disable=SC2086 # a list of words
		choose $choices || { say "error: apt knows no package for $what (tried: $choices)"; return 1; }
	done
}

# boot_links lists what starts at boot: units wanted by a target, and System V start links.
boot_links() {
	find /etc/systemd/system -path '*.wants/*' -type l 2>/dev/null || true
	find /etc/rc?.d -name 'S*' -type l 2>/dev/null || true
}

put_policy_back() {
	if [ -e "$saved" ]; then
		as_root mv -f "$saved" "$policy"
	elif grep -qsF "$marker" "$policy"; then
		as_root rm -f "$policy"
	fi
}

guard_services() {
	put_policy_back # left by a setup that was killed
	[ ! -e "$policy" ] || as_root mv "$policy" "$saved"
	printf '#!/bin/sh\n%s\nexit 101\n' "$marker" | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
}

# disable_new reverts, link by link, what the packages enabled: $1 is the list from before.
disable_new() {
	boot_links | sort | comm -13 "$1" - | while read -r link; do
		say "not starting at boot: $link"
		case $link in
		/etc/rc?.d/S*) as_root mv -f "$link" "${link%/S*}/K${link##*/S}" ;; # what update-rc.d disable does
		*) as_root rm -f "$link" ;;
		esac
	done
	[ ! -d /run/systemd/system ] || as_root systemctl daemon-reload
}

explain_and_fail() {
	say "error: $1"
	say 'missing:'
	printf '%s\n' "$todo" | while read -r what choices; do
		say "  $what: package $(echo "$choices" | sed 's/ / or /g; s/+/ with /g')"
	done
	say "hint: $2"
	exit 1
}

mode=${1:-run}
case $mode in
run | test | pip | debootstrap) ;;
*)
	say "error: unknown mode '$mode'"
	say 'hint: setup.sh [run|test|pip|debootstrap]'
	exit 2
	;;
esac

todo=$(missing "$mode")
[ -n "$todo" ] || exit 0

have apt-get ||
	explain_and_fail 'apt-get not found' 'install these with the package manager of this system and run it again'
if [ "$(id -u)" -ne 0 ]; then
	have sudo || explain_and_fail 'not root, and sudo not found' 'as root: sh scripts/setup.sh '"$mode"
	sudo -n true 2>/dev/null || [ -t 0 ] ||
		explain_and_fail 'sudo asks for a password, but standard input is not a terminal' 'run it from a terminal, or as root: sh scripts/setup.sh '"$mode"
fi

say "missing: $(printf '%s\n' "$todo" | cut -d ' ' -f 1 | tr '\n' ' ')"
say 'apt-get update ...'
as_root apt-get update -qq || say 'warning: apt-get update failed; trying with the package lists at hand'
list=$(printf '%s\n' "$todo" | packages | tr '\n' ' ')
say "apt-get install: $list"

before=$(mktemp)
trap 'rm -f "$before"; put_policy_back' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
boot_links | sort >"$before"
guard_services
# shellcheck disable=SC2086 # a list of words
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends $list >&2 </dev/null || {
	say 'error: apt-get install failed (its message is above)'
	exit 1
}
disable_new "$before"

todo=$(missing "$mode")
[ -z "$todo" ] || explain_and_fail 'still missing after the installation' 'apt-get said why, above'
say 'done'
