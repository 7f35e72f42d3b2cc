#!/bin/sh
# Read the output of go test -cover, and print a table: the share of statements that tests reach, by package, the lowest first.
printf '| package | statements reached by its own tests |\n|---|---|\n'
sed -n 's/^\(ok\)\{0,1\}[[:space:]]*\([^[:space:]]*\)[[:space:]].*coverage: \([0-9.]*\)% of statements.*/\3 \2/p' | sort -n |
	awk '{ printf "| `%s` | %s %% |\n", $2, $1 }'
