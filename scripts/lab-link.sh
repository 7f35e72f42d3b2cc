#!/bin/sh
# lab-link.sh NAME COMMAND...: takes the link of a host of the lab off the switch, in whose network namespace it is started, has COMMAND carry the
# frames between the two, and puts the link back when COMMAND has ended. COMMAND gets two network devices, that at the host and that at the
# switch, and says "ready". It begins when a line comes in, and ends when the input does without one.
set -eu
read -r _ || exit 125
name=$1
shift

# The devices pass on what is as large as the network stack makes it; nobody speaks IPv6 for the switch.
ip -batch - <<END
link add w-$name type veth peer name x-$name
link set x-$name mtu 65535 addrgenmode none up
link set w-$name mtu 65535 up
link set v-$name addrgenmode none nomaster
link set w-$name master br0
END
# Devices drop what they are to send until the kernel has seen that both ends are up, which can take a second.
until bridge link show dev "w-$name" | grep -q 'state forwarding' && ip link show dev "x-$name" | grep -q 'state UP'; do sleep 0.005; done
"$@" "v-$name" "x-$name" </dev/null &
exec </dev/null >/dev/null 2>&1 # nobody reads any more what a shell says of one that was killed
wait $! || :
ip link del "w-$name"
ip link set "v-$name" master br0
