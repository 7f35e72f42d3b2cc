#!/bin/sh
# coverage.sh PLAIN [REAL]: docs/coverage.md from two profiles of go test -coverpkg, in which several tests may have the same block: of the
# tests without servers, and of those that ran on real servers.
set -eu
cat <<'EOF'
# Coverage by package

The share of statements that the tests of any package reach: without servers, and with the tests on real servers of the packages that are
marked with `*`. `make coverage REAL="./app ./infra/dbserver"` writes this page; `make test` runs the tests of all packages on real servers.

What matters and needs servers: `infra/team` and `infra/host/ssh` (every line acts on a host), the queries of `infra/engine/mysql`, what applies
and reverts in `infra` and `infra/tune`, and the users and rules of `bench/scenario`. After a change there, run these tests with `ISUKIT_TEST_REAL=1`.
Only `make generate` runs `proto/gen`; `infra/infratest`, `infra/host/hosttest` and `infra/infratest/realhosts` are parts of tests.

| package | statements | without servers | with servers |
|---|---|---|---|
EOF
awk -v marked="${MARKED:-}" '
function package(block) {
	sub(/\/[^\/]*$/, "", block)
	if (!sub(/^isukit\//, "", block)) sub(/^.*\/app\/fanout/, "app/fanout", block)
	return block
}
$1 == "mode:" { next }
{ statements[$1] = $2 }
$3 > 0 { any[$1] = $2; if (FILENAME == ARGV[1]) plain[$1] = $2 }
END {
	for (block in statements) {
		p = package(block)
		total[p] += statements[block]
		without[p] += plain[block]
		with[p] += any[block]
	}
	n = split(marked, list, " ")
	for (i = 1; i <= n; i++) { sub(/^\.\//, "", list[i]); real[list[i]] = 1 }
	for (p in total) printf "%.1f | `%s`%s | %d | %.1f %% | %.1f %% |\n", 100 * with[p] / total[p], p, p in real ? " \\*" : "", total[p], 100 * without[p] / total[p], 100 * with[p] / total[p]
}' "$@" | sort -n | sed 's/^[0-9.]* //'
