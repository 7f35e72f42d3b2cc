#!/bin/sh
# Build the archives of a release in dist/: static binaries, completions, manual pages and checksums. The same commit gives the same bytes.
# TARGETS selects some, for example TARGETS=linux/arm64.
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
commit=$(git rev-parse HEAD)
if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
	echo 'dist: error: there are uncommitted changes' >&2
	echo 'dist: hint: commit or stash them, so that a release has a commit' >&2
	exit 1
fi
version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' cmd/internal/release/release.go)
time=$(git log -1 --format=%ct)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # GOOS GOARCH DIRECTORY
	CGO_ENABLED=0 GOOS=$1 GOARCH=$2 "$go" build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X isukit/cmd/internal/release.commit=$commit" \
		-o "$3/" ./cmd/isukit ./cmd/isukit-app
}

# The host's own isukit writes the files that are the same everywhere.
build "$("$go" env GOHOSTOS)" "$("$go" env GOHOSTARCH)" "$work/host"
mkdir -p "$work/share/man" "$work/share/completions"
"$work/host/isukit" man "$work/share/man"
for shell in bash zsh fish; do "$work/host/isukit" completion $shell >"$work/share/completions/isukit.$shell"; done

rm -rf dist
mkdir dist
for target in ${TARGETS:-linux/amd64 linux/arm64 darwin/arm64}; do
	os=${target%/*} arch=${target#*/}
	name=isukit-$version-$os-$arch
	mkdir "$work/$name"
	build "$os" "$arch" "$work/$name"
	cp -R "$work/share/man" "$work/share/completions" "$work/$name/"
	cp -R README.md README.ja.md CHANGELOG.md CONTRIBUTING.md LICENSE docs "$work/$name/"
	# Names, times, owners and modes do not depend on the machine.
	chmod -R u=rwX,go=rX "$work/$name"
	tar --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner --format=ustar -C "$work" -cf - "$name" | gzip -9n >"dist/$name.tar.gz"
done
cd dist
sha256sum -- *.tar.gz >SHA256SUMS
cat SHA256SUMS
