#!/bin/sh
# bench-tuning.sh [CASE...]: what tunings gain on the reference app, measured in the lab with isukit compare: one line of JSON
# for each case. It needs root, and MariaDB for the query cache. PAIRS (10), DURATION (5s), BUDGET
# (7m, for a case) and ISUKIT (bin/isukit) may be set.
#   query-cache      mysql/query-cache where many look at the leaderboard and few write
#   query-cache-busy the same during a contest, when results come in continuously
#   proxy-cache      nginx/cache on the leaderboard, for the same audience
#   keepalive        connections kept between nginx and the app, against a new one for each request
#   durability       mysql/durability-relaxed during a contest
#   folklore         mysql/caches, which is in every old my.cnf
set -eu
isukit=${ISUKIT:-bin/isukit} pairs=${PAIRS:-10} duration=${DURATION:-5s} budget=${BUDGET:-7m}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
[ $# -gt 0 ] || set -- query-cache query-cache-busy proxy-cache keepalive durability folklore

# figure prints a field of the comparison: NAME
figure() { sed -n "s/^ *\"$1\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$out" | head -n 1; }

# gain compares two sides: CASE A B ARGUMENTS
gain() {
	"$isukit" compare "round=$2" "round=$3" --rounds "$pairs" --budget "$budget" --repeats 0 --metrics score --json \
		--both "--topology nginx --driver lab --engine mariadb --hits=false --duration $duration $4" >"$out"
	printf '{"case":"%s","a":"%s","b":"%s","both":"%s","pairs":%s,"ratio":%s,"low":%s,"high":%s,"verdict":"%s"}\n' "$1" "$2" "$3" "$4" \
		"$(figure pairs)" "$(figure ratio)" "$(figure ratio_low)" "$(figure ratio_high)" "$(figure verdict)"
}

for name; do
	case $name in
	query-cache) gain "$name" '--tune nginx/no-cache' '--tune nginx/no-cache,mysql/query-cache' '--mix audience --users 64' ;;
	query-cache-busy) gain "$name" '--tune nginx/no-cache' '--tune nginx/no-cache,mysql/query-cache' '--users 64' ;;
	proxy-cache) gain "$name" '--tune nginx/no-cache' '--tune nginx/cache' '--mix audience --users 64' ;;
	keepalive) gain "$name" '--tune nginx/no-keepalive' '--tune nginx/keepalive' '--scale small --users 300' ;;
	durability) gain "$name" '' '--tune mysql/durability-relaxed' '--scale small --users 300' ;;
	folklore) gain "$name" '' '--tune mysql/caches' '--scale small --users 300' ;;
	*)
		echo "bench-tuning.sh: error: case $name not found" >&2
		exit 2
		;;
	esac
done
