#!/bin/sh
# replay-day.sh [NUMBER...]: runs the rows of docs/the-day.md whose claims are deterministic, on real servers, and prints a line for each as it ends.
# NUMBER runs some rows. The exit status is 1 when a claim does not hold here. It needs root, and what "make setup-test mysql envoy hosts" installs.
set -u
out=$(mktemp)
trap 'rm -f "$out"' EXIT
rows='1 ./infra/doctor TestQueryCache
2 ./infra/doctor TestProxyCache
3 ./infra/doctor TestBlackHole|TestSilentRouter|TestMTUDiffers
4 ./infra/doctor TestLintedStatementsAreRefused|TestConfigIgnored|TestLogin
5 ./app/fanouttest TestParallelDiverges|TestReplicasStayEqual
9 ./infra/doctor TestFileLimits
11 ./cmd/isukit TestRealHosts
12 ./infra/doctor TestMitigations
13 ./cmd/isukit TestCaptureTruthTLSRound|TestDecodeTruth|TestSendCommand
14 ./infra/doctor TestJSONContains
15 ./infra/doctor TestLints
16 ./infra/doctor TestChecksum
17 ./infra/host/machine TestLabLinkFlaws|TestLabFault'
status=0
echo '| row | test | result | seconds |'
echo '|---|---|---|---|'
while read -r number package tests; do
	case " ${*:-$number} " in *" $number "*) ;; *) continue ;; esac
	start=$(date +%s) result='holds'
	ISUKIT_TEST_REAL=1 "${GO:-go}" test "$package" -run "^($tests)\$" -count 1 -v -timeout 30m </dev/null >"$out" 2>&1 || result='does not hold' status=1
	if ! grep -q '^--- PASS' "$out"; then # a name that no test has would pass
		result='does not hold' status=1
	fi
	printf '| %s | %s | %s | %s |\n' "$number" "$(printf %s "$tests" | tr '|' ' ')" "$result" "$(($(date +%s) - start))"
	[ "$result" = holds ] || cat "$out" >&2
done <<END
$rows
END
exit $status
