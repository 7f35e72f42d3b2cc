#!/bin/sh
# in-memory.sh COMMAND...: run it with its temporary files in memory, if there is plenty. The servers that tests start wait for the disk
# longer than they compute. Nothing changes where memory is short or must not hold programs.
set -eu

need_kib=$((8 * 1024 * 1024))
available() {
	awk '/^MemAvailable:/ {print $2}' /proc/meminfo
}
room() {
	df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print $4}'
}

if [ "${1-}" = "" ] || [ "$1" = --help ]; then
	echo 'usage: in-memory.sh COMMAND...' >&2
	exit 2
fi
if [ "$(available)" -lt "$need_kib" ] || [ "$(room || echo 0)" -lt "$need_kib" ]; then
	exec "$@"
fi
dir=$(mktemp -d /dev/shm/isukit-test.XXXXXX)
chmod 1777 "$dir" # as /tmp is: some tests run as another user
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
printf '#!/bin/sh\n' >"$dir/probe"
chmod 700 "$dir/probe"
if "$dir/probe" 2>/dev/null; then
	TMPDIR=$dir "$@"
else
	"$@"
fi
