#!/bin/sh
# Read a profile of go test -coverpkg, in which several tests may have the same block, and print a table: the share of statements that any
# test reached, by package, the lowest first.
printf '| package | statements | reached |\n|---|---|---|\n'
awk '$1 != "mode:" {
	statements[$1] = $2
	if ($3 > 0) reached[$1] = $2
}
END {
	for (block in statements) {
		package = block
		sub(/\/[^\/]*$/, "", package)
		total[package] += statements[block]
		some[package] += reached[block]
	}
	for (package in total) printf "%.1f %d %s\n", 100 * some[package] / total[package], total[package], package
}' | sort -n | awk '{ printf "| `%s` | %d | %s %% |\n", $3, $2, $1 }'
