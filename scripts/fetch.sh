#!/bin/sh
# fetch.sh: what the scripts that fetch programs and systems share. Such a script names itself in $name and what it makes in $dir, reads this
# file, and has a function ready, which tells whether all of it is there.
# shellcheck disable=SC2154 # $name, $dir and $root are that script's

say() { printf '%s: %s\n' "$name" "$*" >&2; }
fail() {
	say "error: $1"
	say "hint: $2"
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# remove removes what is in a directory, also what belongs to root, and nothing that is mounted there.
remove() { rm -rf --one-file-system -- "$1" 2>/dev/null || as_root rm -rf --one-file-system -- "$1"; }

# once makes $work for one script at a time; a second one waits for the first. It ends the script where that has made everything.
# $work is removed when the script ends.
once() {
	mkdir -p "$(dirname "$dir")"
	exec 9>"$dir.lock"
	if command -v flock >/dev/null 2>&1; then flock 9; fi
	if ready; then
		exit 0
	fi
	work=$dir.new
	trap 'remove "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	remove "$work"
}

# release prints a field of this system's description, e.g. ID or VERSION_CODENAME.
release() { sed -n "s/^$1=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" /etc/os-release 2>/dev/null; }

# vendor sets $vendor and $components to those of this system's packages: Ubuntu's on Ubuntu, Debian's elsewhere.
vendor() {
	case $(release ID) in
	ubuntu) vendor=Ubuntu components=main,universe ;;
	*) vendor=Debian components=main ;;
	esac
}

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

# bootstrap sees to what debootstrap needs, says $3, and has it make a system of the vendor's suite $1 with the packages $2 in $work. What it
# said is in $dir.log.
bootstrap() {
	command -v debootstrap >/dev/null 2>&1 || sh "$root/scripts/setup.sh" debootstrap ||
		fail 'debootstrap is missing' 'install it and run this again'
	from=$(mirror "$vendor")
	[ -n "$from" ] || fail "apt on this machine has no $vendor mirror" "name one: ISUKIT_MIRROR=URL sh scripts/$name.sh${engine:+ $engine}"
	[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 ||
		fail 'debootstrap needs root, but sudo was not found' "as root: sh scripts/$name.sh${engine:+ $engine}"
	once
	say "$3"
	as_root debootstrap --variant=minbase --components="$components" --include="$2" "$1" "$work" "$from" >"$dir.log" 2>&1 9>&- || {
		tail -n 5 "$dir.log" >&2
		fail "debootstrap failed; all it said is in $dir.log" "check that the mirror has $vendor $1"
	}
}
