#!/bin/sh
# pictures.sh ROUND FOREIGN DIRECTORY: the pictures of the docs: DIRECTORY/capture.svg, the end of a capture of a foreign schema with the time
# that the command took, DIRECTORY/round.svg, what a terminal shows of a round, without its points, and DIRECTORY/report.png, the head of
# its page. ROUND is a directory of results/, FOREIGN holds contest.pcap and proto/. It needs bin/isukit, script (util-linux) and chromium.
set -eu

round=$1 foreign=$2 out=$3

# The colours that isukit uses, as a terminal with a dark background has them.
to_svg() {
	awk -v lines="$lines" -v label="$1" '
	function escape(s) { gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s); return s }
	function class_of(code,    parts, n, i, c) {
		n = split(code, parts, ";"); c = ""
		for (i = 1; i <= n; i++) {
			if (parts[i] == "1") c = c " b"
			if (parts[i] == "2") c = c " d"
			if (parts[i] ~ /^(3|9)[1-6]$/) c = c " c" substr(parts[i], 2)
		}
		return substr(c, 2)
	}
	{
		rest = $0; body = ""; class = ""
		while (match(rest, /\033\[[0-9;]*m/)) {
			body = body span(substr(rest, 1, RSTART - 1), class)
			class = class_of(substr(rest, RSTART + 2, RLENGTH - 3))
			rest = substr(rest, RSTART + RLENGTH)
		}
		printf "<text x=\"16\" y=\"%d\">%s</text>\n", 28 + 17 * (NR - 1), body span(rest, class)
	}
	function span(s, class) { s = escape(s); return s == "" || class == "" ? s : "<tspan class=\"" class "\">" s "</tspan>" }
	BEGIN {
		height = 17 * lines + 30
		printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"760\" height=\"%d\" viewBox=\"0 0 760 %d\" role=\"img\" aria-label=\"%s\">\n", height, height, label
		print "<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",monospace;fill:#d7dae0;white-space:pre}" \
			".b{font-weight:bold}.d{fill:#8b92a0}.c1{fill:#ff7b72}.c2{fill:#7ee787}.c3{fill:#e3b341}.c4{fill:#79c0ff}.c5{fill:#d2a8ff}.c6{fill:#76e3ea}</style>"
		printf "<rect width=\"760\" height=\"%d\" rx=\"8\" fill=\"#15181e\"/>\n", height
	}
	END { print "</svg>" }'
}

# picture NAME LABEL makes NAME.svg of NAME.txt.new.
picture() {
	lines=$(wc -l <"$out/$1.txt.new")
	to_svg "$2" <"$out/$1.txt.new" >"$out/$1.svg.new"
	mv "$out/$1.svg.new" "$out/$1.svg"
	rm "$out/$1.txt.new"
}

mkdir -p "$out"
TERM=xterm-256color script -qec "stty cols 88; bin/isukit show $round" /dev/null </dev/null |
	tr -d '\r' | sed '/Score breakdown/,/Endpoints/{/Endpoints/!d;}; s|^record  .*/|record  results/|' >"$out/round.txt.new"
picture round 'A round in the terminal'
{
	echo '$ time isukit capture contest.pcap --proto ./proto --bodies | tail -n 22'
	bash -c 'time "$0" capture "$1/contest.pcap" --proto "$1/proto" --bodies 2>/dev/null | tail -n 22' bin/isukit "$foreign" 2>&1 |
		sed -E 's/^(.{86}).+$/\1.../' | expand
} >"$out/capture.txt.new"
picture capture 'The messages of a capture of 300 exchanges, with the time it took'

profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
"$browser" --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync \
	--user-data-dir="$profile" --hide-scrollbars --window-size=1100,900 --run-all-compositor-stages-before-draw \
	--screenshot="$out/report.png" "file://$(cd "$round" && pwd)/report.html" >/dev/null 2>&1
ls -l "$out"
