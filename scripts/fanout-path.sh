#!/bin/sh
# fanout-path.sh PATH: give the module in app/fanout another path, in its go.mod and wherever it is named. Published in this repository it has to
# be the repository's path and /app/fanout, as in github.com/you/isukit/app/fanout.
set -eu

to=${1-}
case $to in
'' | --help) echo 'usage: fanout-path.sh PATH, for example github.com/you/isukit/app/fanout' >&2; exit 2 ;;
*[!a-zA-Z0-9./_~-]* | /* | */ | *//*) echo "fanout-path: error: $to is not a module path" >&2; exit 2 ;;
*.*/*) ;;
*) echo "fanout-path: error: $to must begin with a host, for example github.com/you/isukit/app/fanout" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
from=$(sed -n 's/^module //p' app/fanout/go.mod)
pattern=$(printf '%s' "$from" | sed 's/[.]/\\./g')
files=$(grep -rlIF "$from" --exclude-dir=.git --exclude-dir=.local --exclude-dir=bin .)
for f in $files; do
	sed -i "s#$pattern#$to#g" "$f"
done
printf '%s\n' "$files" | grep '\.go$' | xargs gofmt -w # imports are sorted by path
echo "fanout-path: $from is now $to, in $(printf '%s\n' "$files" | wc -l) files"
