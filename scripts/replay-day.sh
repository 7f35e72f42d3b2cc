#!/bin/sh
# replay-day.sh [NUMBER...]: runs the rows of docs/the-day.md on real servers, and prints a line for each as it ends. A row whose claim is
# deterministic holds or does not; the others are measured, each with an interval. NUMBER runs some rows; a run of all writes the table into
# docs/the-day.md. The exit status is 1 when a claim does not hold here, or could not be measured. It needs root, and what "make setup-test mysql
# mariadb envoy hosts build" installs. PAIRS (5) and DURATION (4s) of a comparison, and ISUKIT (bin/isukit), may be set.
set -eu
isukit=${ISUKIT:-bin/isukit} pairs=${PAIRS:-5} duration=${DURATION:-4s} page=docs/the-day.md
dir=$(mktemp -d)
trap '"$isukit" topology down --driver lab --state-dir "$dir/state" -q >/dev/null 2>&1 || :; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
status=0 rows=" $* "

asked() { [ "$rows" = '  ' ] || case "$rows" in *" $1 "*) ;; *) return 1 ;; esac; }
line() { printf '| %s | %s | %s | %s |\n' "$@" | tee -a "$dir/table"; }
since() { echo $(($(date +%s) - $1)); }

# decide ROW PACKAGE TESTS: the tests decide whether a claim holds.
decide() {
	asked "$1" || return 0
	start=$(date +%s) result='holds'
	ISUKIT_TEST_REAL=1 "${GO:-go}" test "$2" -run "^($3)\$" -count 1 -v -timeout 30m </dev/null >"$dir/out" 2>&1 || result='does not hold'
	grep -q '^--- PASS' "$dir/out" || result='does not hold' # a name that no test has would pass
	[ "$result" = holds ] || { status=1 && cat "$dir/out" >&2; }
	line "$1" "$(printf %s "$3" | tr '|' ' ')" "$result" "$(since "$start")"
}

# figure NAME: a field of the JSON that was printed last
figure() { sed -n "s/^ *\"$1\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$dir/out" | head -n 1; }

# measure ROW WHAT ARGUMENTS: a comparison of two sides in pairs of rounds
measure() {
	asked "$1" || return 0
	start=$(date +%s) row=$1 what=$2
	shift 2
	if "$isukit" compare "$@" --rounds "$pairs" --repeats 0 --json --results "$dir/results" --state-dir "$dir/state" </dev/null >"$dir/out" 2>"$dir/err"; then
		result=$(printf '%.2f times, %.2f to %.2f, %s pairs' "$(figure ratio)" "$(figure ratio_low)" "$(figure ratio_high)" "$(figure pairs)")
		case $result in *', 0.00 to 0.00,'*) result="$(printf %.2f "$(figure ratio)") times, too few pairs for an interval" ;; esac
	else
		result='not measured' status=1
		cat "$dir/err" >&2
	fi
	line "$row" "$what" "$result" "$(since "$start")"
}

# placed NAME DATABASES DATA [LINK]: a topology of three hosts whose databases are the limit; prints its file
placed() {
	cat >"$dir/$1.yaml" <<END
name: $1
hosts: [{name: s1, cpus: 1, memory: 1GiB, address: 10.77.0.11}, {name: s2, cpus: 0.3, memory: 1GiB, address: 10.77.0.12${4:-}}, {name: s3, cpus: 0.3, memory: 1GiB, address: 10.77.0.13${4:-}}]
roles: {proxy: [{host: s1, kind: nginx}], web: [{host: s1}], api: [{host: s1}], db: [$2]}
data: {$3}
END
	echo "$dir/$1.yaml"
}

both="--driver lab --scale small --users 100 --duration $duration --hits=false"
hits() { measure "$1" "$2" "topology=$3" "topology=$4" --metrics hits --both "$both"; }
two='{host: s2, engine: mariadb}, {host: s3, engine: mariadb}'
far=', link: {delay: 0.5ms}'

printf '| row | shown by | result | seconds |\n|---|---|---|---|\n' | tee "$dir/table"
decide 1 ./infra/doctor 'TestQueryCache'
measure 1 'score with mysql/query-cache' 'round=--tune nginx/no-cache' 'round=--tune nginx/no-cache,mysql/query-cache' --metrics score \
	--both "--topology nginx --driver lab --engine mariadb --hits=false --duration $duration --mix audience --users 64"
decide 2 ./infra/doctor 'TestProxyCache'
measure 2 'score with nginx/cache' 'round=--tune nginx/no-cache' 'round=--tune nginx/cache' --metrics score \
	--both "--topology nginx --driver lab --engine mariadb --hits=false --duration $duration --mix audience --users 64"
decide 3 ./infra/doctor 'TestBlackHole|TestSilentRouter|TestMTUDiffers'
decide 4 ./infra/doctor 'TestLintedStatementsAreRefused|TestConfigIgnored|TestLogin'
decide 5 ./app/fanouttest 'TestParallelDiverges|TestReplicasStayEqual'
if asked 6; then
	single=$(placed single-3 '{host: s2, engine: mariadb}' '')
	hits 6 'hits of split (groups of tables) / one database' "$single" \
		"$(placed split-3 "$two" 'groups: [{name: jobs, tables: [jobs, results], databases: [db-1]}, {name: rest, tables: ["*"], databases: [db-2]}]')"
	hits 6 'hits of fanout-2 (ordered) / one database' "$single" "$(placed fanout-3h "$two" 'write: ordered')"
	hits 6 'hits of replica-semisync / one database' "$single" "$(placed semisync-3 "$two" 'write: replicated, replication: semisync')"
	hits 6 'hits of proxy-read / one database' "$single" "$(placed proxy-3 "$two" 'write: ordered, balance: {kind: nginx, host: s1}')"
	hits 6 'hits of nft-read / one database' "$single" "$(placed nft-3 "$two" 'write: ordered, balance: {kind: nftables}')"
fi
for n in 2 3 4; do
	hits 7 "hits of final-$n / final-1" final-1 "final-$n"
done
if asked 7; then
	start=$(date +%s)
	if "$isukit" round -t final-1 --driver lab --scale small --users 20 --duration 10s --results "$dir/results" --state-dir "$dir/state" -q >/dev/null 2>"$dir/err" &&
		"$isukit" advise --results "$dir/results" --state-dir "$dir/state" -q >"$dir/out" 2>"$dir/err"; then
		result="$(sed -n '2,4p' "$dir/out" | tr '\n|' ';/' | tr -s ' ')"
	else
		result='not measured' status=1
		cat "$dir/err" >&2
	fi
	line 7 'the best placements by isukit advise, from one round' "$result" "$(since "$start")"
fi
if asked 8; then
	start=$(date +%s) result='not measured'
	if ISUKIT_TEST_REAL=1 ISUKIT_LAB_BENCH=5 ISUKIT_LAB_BENCH_JSON="$dir/proxy.json" "${GO:-go}" test ./cmd/isukit -run '^TestBenchProxy$' -v -count 1 -timeout 20m </dev/null >"$dir/out" 2>&1; then
		result=$(sed -n 's/^| passed on to the app | no |.* | \([0-9.]* ([^)]*)\) |$/\1/p' "$dir/out")
	else
		status=1
		cat "$dir/out" >&2
	fi
	line 8 'CPU of Envoy / nginx for a proxied hit' "$result" "$(since "$start")"
fi
decide 9 ./infra/doctor 'TestFileLimits'
if asked 10; then
	start=$(date +%s) result='not measured'
	cat >"$dir/failing.conf" <<'END'
# Tuning nginx/failing: one of four resets of the data fails

http {
	# chance; since nginx 0.8.37; restart: reload; risk: low
	split_clients "$msec$pid$connection" $isukit_planted {
		25% 1;
		* "";
	}
	server * {
		# planted; since nginx 0.8.37; restart: reload; risk: low
		location = /initialize {
			if ($isukit_planted) {
				return 500;
			}
			proxy_pass http://web;
		}
	}
}
END
	if "$isukit" screen "$dir/failing.conf,mysql/caches,mysql/io-capacity,nginx/workers,nginx/keepalive" --rounds "${SCREEN_ROUNDS:-64}" --seed 1 --metrics hits --json \
		--round "-t nginx --driver lab --engine mariadb --scale small --users 30 --duration 2s --hits=false" \
		--results "$dir/results" --state-dir "$dir/state" -q </dev/null >"$dir/out" 2>"$dir/err"; then
		# One line for each tuning, of those of which something was shown.
		result=$(tr -d '\n' <"$dir/out" | tr '{' '\n' | sed -n 's/^ *"name": "\([^"]*\)", *"effect": "\([^"]*\)".*"fails": \([0-9.]*\).*/\1 \2 (fails: \3)/p' |
			grep -v 'nothing shown' | tr '\n' ';')
		result=${result:-nothing shown}
	else
		status=1
		cat "$dir/err" >&2
	fi
	line 10 'isukit screen of five tunings, of which nginx/failing makes 1 of 4 rounds fail' "$result" "$(since "$start")"
fi
decide 11 ./cmd/isukit 'TestRealHosts'
decide 12 ./infra/doctor 'TestMitigations'
decide 13 ./cmd/isukit 'TestCaptureTruthTLSRound|TestDecodeTruth|TestSendCommand'
decide 14 ./infra/doctor 'TestJSONContains'
decide 15 ./infra/doctor 'TestLints'
decide 16 ./infra/doctor 'TestChecksum'
decide 17 ./infra/host/machine 'TestLabLinkFlaws|TestLabFault'
if asked 17; then
	near=$(placed near "$two" 'write: ordered') apart=$(placed apart "$two" 'write: ordered' "$far")
	hits 17 'hits of databases .5 ms away each way / beside' "$near" "$apart"
	hits 17 'hits of durable / ordered, .5 ms away each way' "$apart" "$(placed durable "$two" 'write: durable' "$far")"
	hits 17 'hits of ordered / one database, .5 ms away each way' "$(placed one '{host: s2, engine: mariadb}' '' "$far")" "$apart"
fi

if [ "$rows" = '  ' ] && grep -q '^<!-- replay-day -->$' "$page"; then
	sed -e "/^<!-- replay-day -->\$/r $dir/table" -e '/^<!-- replay-day -->$/,/^<!-- end -->$/{/^<!--/!d}' "$page" >"$dir/page" && cat "$dir/page" >"$page"
fi
exit $status
