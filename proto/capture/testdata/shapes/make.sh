#!/bin/sh
# Makes the captures here: send.py sends by hand what each line of its text says, dumpcap writes the packets down, and NAME.truth is what was
# sent, one exchange a line. learn.routes is which types the sender used on which routes. Needed: dumpcap, python3 with protobuf, protoc of the
# same age ("pip install grpcio-tools", PYTHON and PROTOC as in proto/decode/testdata/corpus/make.sh); loopback without other traffic.
set -eu
cd "$(dirname "$0")"
GENERATED=$(mktemp -d)
export GENERATED
trap 'rm -rf "$GENERATED"' EXIT
(cd proto && ${PROTOC:-protoc} -I. --python_out="$GENERATED" shop/*.proto google/api/*.proto)
mkdir -p "$GENERATED/google_api" && mv "$GENERATED/google/api" "$GENERATED/google_api/" && rmdir "$GENERATED/google"
sed -i 's/^from google.api import/from google_api.api import/' "$GENERATED"/shop/*.py
port=18080
for kind in shapes learn odd; do
	dumpcap -q -P -i lo -f "tcp port $port" -w $kind.pcap 2>/dev/null &
	pid=$!
	sleep 2
	${PYTHON:-python3} send.py $kind $port $kind.truth
	kill -INT $pid
	wait $pid || true
	port=$((port + 1))
done
