#!/bin/sh
# capture.sh INTERFACE FILTER [SSH_CONNECTION]: packets of this host as a pcap file on standard output, until standard input
# ends. It needs root. The packets of the ssh connection through which it runs are left out: they would breed more of
# themselves.
set -u
interface=$1 filter=$2
# shellcheck disable=SC2086 # "client port server port"
set -- ${3:-}

command -v tcpdump >/dev/null || {
	echo "tcpdump is not installed on $(uname -n)" >&2
	exit 127
}
if [ $# -ge 2 ]; then
	filter="${filter:+($filter) and }not (host $1 and port $2)"
fi

# A command in the background has no input of its own; descriptor 3 keeps it.
exec 3<&0
tcpdump -i "$interface" -s 0 -B 32768 -U -w - "$filter" </dev/null &
capture=$!
(
	cat <&3 >/dev/null
	sleep 2 # tcpdump gets what has come by now within a second
	kill -INT $capture
) >/dev/null 2>&1 &
waiter=$!
wait $capture
code=$?
kill $waiter 2>/dev/null
exit $code
