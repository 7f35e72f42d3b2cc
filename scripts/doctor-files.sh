#!/bin/sh
# What isukit reads about files: each argument is a path, a directory with a / at its end, whose files are listed, or a pattern.
# For each: @file PATH, TAB, REAL PATH; @mode MODE OWNER GROUP of the real file; @parent MODE OWNER GROUP PATH of every directory
# above it; its text between @text and @end, each line after a blank. Nothing is changed.
one() {
	real=$(readlink -f -- "$1" 2>/dev/null)
	printf '@file %s\t%s\n' "$1" "$real"
	[ -e "$real" ] || return
	stat -c '@mode %a %u %g' -- "$real" 2>/dev/null || stat -f '@mode %Lp %u %g' "$real"
	above=${real%/*}
	set --
	while [ -n "$above" ]; do
		set -- "$@" "$above"
		above=${above%/*}
	done
	stat -c '@parent %a %u %g %n' -- "$@" / 2>/dev/null
	echo @text
	head -c 1000000 -- "$real" 2>/dev/null | sed 's/^/ /'
	echo
	echo @end
}
LC_ALL=C; export LC_ALL # the order in which servers read them
IFS=
for arg in "$@"; do
	case $arg in
	*[*?[]*) for f in $arg; do [ ! -f "$f" ] || one "$f"; done ;;
	*/) for f in "$arg"*; do [ ! -e "$f" ] && [ ! -L "$f" ] || [ -d "$f" ] || one "$f"; done ;;
	*) one "$arg" ;;
	esac
done
