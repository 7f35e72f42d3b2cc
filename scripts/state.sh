# shellcheck shell=sh disable=SC2154
# state.sh: what sysctl.sh and mysql.sh have in common: a tuning's file, option files, and the records of originals. The
# records are those of "isukit tune" (docs/tuning.md), so that each can revert what the other applied. A script that reads this
# file sets kind and target, and has functions get LAYER KEY and put LAYER KEY VALUE, where a VALUE is "value TEXT" or
# "absent"; layers KEY RESTART READS, refuse KEY RESTART READS, adjust KEY TEXT, settle and check.

sep=$(printf '\037')
nl='
'
status=0
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

die() { # MESSAGE HINT
	echo "$self: error: $1" >&2
	[ -z "${2:-}" ] || echo "$self: hint: $2" >&2
	exit 1
}

usage() { # MESSAGE
	echo "$self: error: $1" >&2
	echo "$self: hint: $self apply|verify|revert FILE; docs/tuning.md tells more" >&2
	exit 2
}

# open_state makes the directory of the target's records known.
open_state() {
	dir=${ISUKIT_STATE_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/isukit}/tune/$target.$kind
}

# say prints what was done with a key: DID KEY LAYER WHAT
say() { printf '%-10s %-9s %s %s: %s\n' "$target" "$1" "$2" "$3" "$4"; }

text_of() { # VALUE
	case $1 in absent) printf '(none)' ;; *) printf '%s' "${1#value }" ;; esac
}

# canonical makes texts equal that mean the same: 64M and 67108864, ON and 1, any blanks.
canonical() {
	printf '%s\n' "$1" | awk '{
		out = ""
		gsub(/^[ \t"\047]+|[ \t"\047]+$/, "")
		for (i = 1; i <= NF; i++) {
			f = $i; u = toupper(f); factor = 1
			if (u == "ON" || u == "TRUE" || u == "YES") f = "1"
			if (u == "OFF" || u == "FALSE" || u == "NO") f = "0"
			if (f ~ /^-?[0-9]+(\.[0-9]*)?[KMGkmg]?$/) {
				if (u ~ /K$/) factor = 1024
				if (u ~ /M$/) factor = 1048576
				if (u ~ /G$/) factor = 1073741824
				f = sprintf("%.6f", f * factor)
			}
			out = out (i > 1 ? " " : "") f
		}
		print out
	}'
}

same() { # VALUE VALUE
	[ "$1" != "$2" ] || return 0
	[ "$1" != absent ] && [ "$2" != absent ] && [ "$(canonical "${1#value }")" = "$(canonical "${2#value }")" ]
}

# raised is the higher of both field by field, and the current text as it is where no field is higher: CURRENT WANTED
raised() {
	printf '%s\n%s\n' "$1" "$2" | awk '
		function number(t,  u) {
			u = toupper(t)
			if (t !~ /^-?[0-9]+(\.[0-9]*)?[KMGkmg]?$/) return "no"
			return t * (u ~ /K$/ ? 1024 : u ~ /M$/ ? 1048576 : u ~ /G$/ ? 1073741824 : 1)
		}
		NR == 1 { n = split($0, c, /[ \t]+/); current = $0 }
		NR == 2 {
			if (split($0, w, /[ \t]+/) != n) { print; exit }
			for (i = 1; i <= n; i++) {
				if (number(c[i]) == "no" || number(w[i]) == "no") { print; exit }
				if (number(w[i]) > number(c[i])) { c[i] = w[i]; higher = 1 }
			}
			if (!higher) { print current; exit }
			out = c[1]
			for (i = 2; i <= n; i++) out = out " " c[i]
			print out
		}'
}

# settings prints the tuning in FILE, a line for each key: key, value, flag, since, restart, raise only, reads, risk.
settings() {
	awk -v s="$sep" '
		/^[ \t]*$/ || /^\[/ { comment = ""; next }
		/^#/ { comment = substr($0, 2); next }
		{
			eq = index($0, "="); key = eq ? substr($0, 1, eq - 1) : $0; value = eq ? substr($0, eq + 1) : ""
			gsub(/^[ \t]+|[ \t]+$/, "", key); gsub(/^[ \t]+|[ \t]+$/, "", value)
			since = ""; restart = "no"; raise = ""; reads = ""; risk = ""
			n = split(comment, part, ";")
			for (i = 2; i <= n; i++) {
				gsub(/^[ \t]+|[ \t]+$/, "", part[i])
				if (part[i] ~ /^since /) since = substr(part[i], 7)
				if (part[i] ~ /^restart: /) restart = substr(part[i], 10)
				if (part[i] ~ /^risk: /) risk = substr(part[i], 7)
				if (part[i] ~ /^reads /) reads = substr(part[i], 7)
				if (part[i] == "raise only") raise = "yes"
			}
			print key s value s (eq ? "" : "yes") s since s restart s raise s reads s risk
			comment = ""
		}' "$1"
}

# knows tells why a product does not know a setting: PRODUCT VERSION KEY SINCE
knows() {
	printf '%s\n' "$4" | awk -v p="$1" -v have="$2" -v key="$3" '
		function older(a, b,  x, y, i) {
			split(a, x, "."); split(b, y, ".")
			for (i = 1; i <= 3; i++) if (x[i] + 0 != y[i] + 0) return x[i] + 0 < y[i] + 0
			return 0
		}
		{
			n = split($0, part, ","); reason = p " " have " does not know " key ", which is of " $0
			for (i = 1; i <= n; i++) {
				split(part[i], f, " ")
				if (f[1] != p) continue
				reason = ""
				if (older(have, f[2])) reason = p " " have " does not know " key ", which is there since " f[2]
				if (f[3] == "until" && !older(have, f[4])) reason = p " " have " does not know " key ", which was removed in " f[4]
			}
			if (reason) print reason
		}'
}

# option prints what a key has in an option file: FILE SECTION KEY, where SECTION is "" for a file without sections.
option() {
	[ -f "$1" ] || {
		echo absent
		return
	}
	awk -v section="$2" -v key="$3" '
		'"$option_awk"'
		{ if (at($0)) found = "value " value }
		END { print found == "" ? "absent" : found }' "$1"
}

# at() tells whether a line gives the key, and sets before, value and after, so that the line is before value after.
option_awk='
	function name(k) {
		gsub(/^[ \t]+|[ \t]+$/, "", k)
		if (section == "") return k
		k = tolower(k); gsub(/-/, "_", k); sub(/^loose_/, "", k)
		return k
	}
	function at(line,  t, eq, rest, cut) {
		t = line; gsub(/^[ \t]+|[ \t]+$/, "", t)
		if (section != "" && t ~ /^\[/) { inside = (t == "[" section "]"); return 0 }
		if (section != "" && !inside || t == "" || t ~ /^[#;!]/) return 0
		eq = index(line, "=")
		if (!eq) {
			before = line; sub(/[ \t]+$/, "", before); after = substr(line, length(before) + 1); value = ""
			return name(line) == name(key)
		}
		rest = substr(line, eq + 1); value = rest
		if (rest !~ /^[ \t]*"/ && (cut = index(rest, " #"))) value = substr(rest, 1, cut - 1)
		gsub(/^[ \t]+|[ \t]+$/, "", value)
		cut = value == "" ? 1 : index(rest, value)
		before = substr(line, 1, eq) substr(rest, 1, cut - 1); after = substr(rest, cut + length(value))
		return name(substr(line, 1, eq - 1)) == name(key)
	}'

# set_option gives a key its value in an option file, or takes it out; all else stays byte for byte: FILE SECTION KEY VALUE
set_option() {
	written='# Written by isukit tune.' added='# Added by isukit tune.'
	real=$(readlink -f -- "$1") || real=$1
	if [ ! -f "$real" ]; then
		[ "$4" != absent ] || return 0
		mkdir -p "${real%/*}" || return 1
		printf '%s\n' "$written" >"$tmp/new" && chmod 644 "$tmp/new"
	else
		cp -p "$real" "$tmp/new" || return 1
	fi
	cp -p "$tmp/new" "$real.isukit-new" || return 1
	awk -v section="$2" -v key="$3" -v to="$4" -v written="$written" -v added="$added" '
		'"$option_awk"'
		{ line[NR] = $0; t = $0; gsub(/^[ \t]+|[ \t]+$/, "", t); if (t == "[" section "]" && !header) header = NR }
		{ if (at($0)) { last = NR; b = before; v = value; a = after } }
		END {
			n = NR; text = substr(to, 7); assignment = key (text == "" ? "" : " = " text)
			if (to == "absent" && last) skip = last
			else if (to == "absent") skip = 0
			else if (last && (text == "") == (v == "")) line[last] = b text a
			else if (last) line[last] = assignment
			else if (section == "") line[++n] = assignment
			else if (header) line[header] = line[header] "\n" assignment
			else {
				if (!(n == 1 && line[1] == written)) line[++n] = added
				line[++n] = "[" section "]"; line[++n] = assignment
			}
			out = ""
			for (i = 1; i <= n; i++) if (i != skip) out = out line[i] "\n"
			if (to == "absent" && section != "") {
				tail = added "\n[" section "]\n"
				if (out == written "\n[" section "]\n") out = written "\n"
				else if (length(out) >= length(tail) && substr(out, length(out) - length(tail) + 1) == tail)
					out = substr(out, 1, length(out) - length(tail))
			}
			printf "%s", out
		}' "$tmp/new" >"$real.isukit-new" || return 1
	if [ "$(cat "$real.isukit-new")" = "$written" ]; then
		rm -f "$real.isukit-new" "$real"
	else
		sync "$real.isukit-new" && mv "$real.isukit-new" "$real"
	fi
	sync "${real%/*}"
}

record_path() {
	case $2 in
	*[%/]*) printf '%s/%s/%s' "$dir" "$1" "$(printf '%s' "$2" | sed 's,%,%25,g; s,/,%2F,g')" ;;
	*) printf '%s/%s/%s' "$dir" "$1" "$2" ;;
	esac
}

# load reads the record of LAYER KEY into r_*; without one it returns 1. r_writes has a line "TUNING VALUE" for each write.
load() {
	r_path=$(record_path "$1" "$2") r_layer=$1 r_key=$2
	r_target=$target r_file='' r_original=absent r_writes='' r_pending='' r_restart=no r_process='' r_reads=''
	[ -f "$r_path" ] || return 1
	n=0
	while IFS= read -r line; do
		n=$((n + 1)) word=${line%% *} text=${line#* }
		[ "$n" -gt 1 ] || {
			[ "$line" = 'isukit-tune 1' ] || die "$r_path is not a record of isukit tune"
			continue
		}
		case $word in
		target) r_target=$text ;;
		layer | at) ;;
		key) r_key=$text ;;
		file) r_file=$text ;;
		original) r_original=$text ;;
		write) r_writes=$r_writes$text$nl ;;
		pending) r_pending=yes ;;
		restart) r_restart=$text ;;
		process) r_process=$text ;;
		reads) r_reads=$text ;;
		held) die "a restart by isukit was cut off, and $r_path has what is to be set again" 'isukit tune revert restores it' ;;
		*) die "$r_path has an unknown line: $word" ;;
		esac
	done <"$r_path"
}

# save writes the record; it is on disk when it returns.
save() {
	(
		umask 077
		mkdir -p "${r_path%/*}" || exit 1
		new=${r_path%/*}/.new.$$
		{
			printf '%s\n' 'isukit-tune 1' "target $r_target" "layer $r_layer" "key $r_key"
			[ -z "$r_file" ] || printf 'file %s\n' "$r_file"
			printf 'original %s\n' "$r_original"
			printf '%s' "$r_writes" | while IFS= read -r w; do printf 'write %s\n' "$w"; done
			[ -z "$r_pending" ] || echo 'pending yes'
			printf 'at %s\nrestart %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$r_restart"
			[ -z "$r_process" ] || printf 'process %s\n' "$r_process"
			[ -z "$r_reads" ] || printf 'reads %s\n' "$r_reads"
		} >"$new" && sync "$new" && mv "$new" "$r_path" && sync "${r_path%/*}"
	) || die "the record $r_path cannot be written" 'nothing that has no record is changed'
}

forget() { rm -f "$r_path" && sync "${r_path%/*}"; }

keep_or_forget() { if [ -n "$r_writes" ]; then save; else forget; fi; }

# current_of is the value that should be in force by the record.
current_of() {
	last=${r_writes%"$nl"}
	last=${last##*"$nl"}
	if [ -n "$last" ]; then printf '%s' "${last#* }"; else printf '%s' "$r_original"; fi
}

# known tells whether the record explains a value.
known() {
	[ -n "$r_pending" ] || {
		same "$1" "$(current_of)"
		return
	}
	same "$1" "$r_original" && return 0
	printf '%s' "$r_writes" >"$tmp/writes"
	while IFS= read -r w; do
		same "$1" "${w#* }" && return 0
	done <"$tmp/writes"
	return 1
}

without() { # TUNING
	printf '%s' "$r_writes" | while IFS= read -r w; do [ "${w%% *}" = "$1" ] || printf '%s\n' "$w"; done
}

# lines puts the line's end back that a command substitution takes away.
lines() { if [ -n "$1" ]; then printf '%s\n' "$1"; fi; }

# plan records the original of one key on one layer and remembers the change: LAYER KEY VALUE RESTART READS KEPT
plan() {
	r_file=''
	now=$(get "$1" "$2") || die "$2 cannot be read"
	if load "$1" "$2"; then
		known "$now" || {
			say left "$2" "$1" "changed outside isukit: $(text_of "$now") (isukit set $(text_of "$(current_of)"))"
			status=1
			return
		}
	else
		[ -n "$6" ] && [ "$1" != runtime ] && return
		r_original=$now r_file=$(file_of "$1")
	fi
	r_writes=$(lines "$(without "$tuning")")
	r_writes=${r_writes:+$r_writes$nl}"$tuning $3$nl"
	[ -n "${now_runs+known}" ] || now_runs=$(process) # until something is planned, nothing is restarted
	r_pending=yes r_reads=$5 r_process=$now_runs
	[ "$4" = no ] || r_restart=$4
	save
	printf '%s%s%s%s%s%s%s\n' "$1" "$sep" "$2" "$sep" "$now" "$sep" "$3" >>"$tmp/plan"
	[ "$1" = runtime ] || [ "$4" = no ] || same "$now" "$3" || need=yes
}

# perform writes what was planned on one kind of layer: "file" is all but the running one.
perform() {
	while IFS=$sep read -r layer key from to; do
		case $1$layer in runtimeruntime) ;; runtime* | fileruntime) continue ;; esac
		load "$layer" "$key" || continue
		did=kept
		if ! same "$(get "$layer" "$key")" "$to"; then
			did=applied
			put "$layer" "$key" "$to" 2>"$tmp/said"
			got=$(get "$layer" "$key")
			if ! same "$got" "$to"; then
				say failed "$key" "$layer" "the value is $(text_of "$got") after it was written; $(cat "$tmp/said")"
				same "$got" "$from" || put "$layer" "$key" "$from"
				r_writes=$(lines "$(without "$tuning")") r_pending='' status=1
				r_writes=${r_writes:+$r_writes$nl}
				keep_or_forget
				continue
			fi
		fi
		r_pending=''
		save
		say $did "$key" "$layer" "$(text_of "$from") -> $(text_of "$to") [$tuning]"
	done <"$tmp/plan"
}

apply() {
	: >"$tmp/plan"
	need=''
	while IFS=$sep read -r key text _ since restart raise reads risk; do
		case $risk in high*) [ -n "${accept:-}" ] || die "$tuning is off unless its risk is accepted: $risk" 'to apply it anyway: --accept-risk' ;; esac
		reason=$(knows "$product" "$version" "$key" "$since")
		[ -n "$reason" ] || reason=$(refuse "$key" "$restart" "$reads")
		if [ -n "$reason" ]; then
			say refused "$key" - "$reason"
			continue
		fi
		text=$(adjust "$key" "$text") || die "$key: $text"
		kept='' r_file=''
		if [ -n "$raise" ] && now=$(get "$(layers "$key" "$restart" "$reads" | tail -n 1)" "$key") && [ "$now" != absent ]; then
			text=$(raised "${now#value }" "$text")
			[ "$text" != "${now#value }" ] || kept=yes
		fi
		for layer in $(layers "$key" "$restart" "$reads"); do
			to="value $text"
			[ "$layer" != persist ] || to=absent
			plan "$layer" "$key" "$to" "$restart" "$reads" "$kept"
		done
	done <"$tmp/settings"
	perform file
	[ -z "$need" ] || settle
	perform runtime
}

# records prints LAYER and KEY of all, the running ones last.
records() {
	for layer in boot file persist runtime; do
		for path in "$dir/$layer"/*; do
			[ -f "$path" ] || continue
			while read -r word text; do [ "$word" != key ] || printf '%s%s%s\n' "$layer" "$sep" "$text"; done <"$path"
		done
	done
}

# revert reverts the tuning on one kind of layer. Records of files stay until the server has been restarted.
revert_layer() {
	: >"$tmp/after"
	need=''
	while IFS=$sep read -r layer key; do
		case $1$layer in runtimeruntime) ;; runtime* | fileruntime) continue ;; esac
		load "$layer" "$key" || continue
		left=$(without "$tuning")
		[ "$(lines "$left")" != "$(printf '%s' "$r_writes")" ] || continue
		from=$(current_of) all=$r_writes
		now=$(get "$layer" "$key") || die "$key cannot be read"
		r_writes=${left:+$left$nl}
		to=$(current_of)
		if ! same "$now" "$to"; then
			r_writes=$all
			known "$now" || {
				say left "$key" "$layer" "changed outside isukit: $(text_of "$now") (isukit set $(text_of "$from"), the original is $(text_of "$r_original"))"
				status=1
				continue
			}
			r_pending=yes
			save
			put "$layer" "$key" "$to" || die "$key cannot be set to $(text_of "$to")"
			got=$(get "$layer" "$key")
			same "$got" "$to" || die "$key is $(text_of "$got") after $(text_of "$to") was written"
			[ "$layer" = runtime ] || [ "$r_restart" = no ] || need=yes
		elif [ -n "$r_pending" ] && [ "$layer" != runtime ] && [ "$r_restart" != no ]; then
			need=yes
		fi
		say reverted "$key" "$layer" "$(text_of "$from") -> $(text_of "$to") [$tuning]"
		printf '%s%s%s\n' "$layer" "$sep" "$key" >>"$tmp/after"
	done <"$tmp/records"
	[ -z "$need" ] || settle
	while IFS=$sep read -r layer key; do
		load "$layer" "$key" || continue
		left=$(without "$tuning")
		r_writes=${left:+$left$nl} r_pending=''
		keep_or_forget
	done <"$tmp/after"
}

revert() {
	records >"$tmp/records"
	revert_layer file
	revert_layer runtime
}

# verify compares what the tuning set with the current values, on every layer.
verify() {
	records >"$tmp/records"
	found=''
	while IFS=$sep read -r layer key; do
		load "$layer" "$key" || continue
		case $nl$r_writes in *"$nl$tuning "*) ;; *) continue ;; esac
		found=yes
		if [ -n "$r_pending" ]; then
			problem='a change was cut off: apply the tuning again or revert it'
		elif now=$(get "$layer" "$key") && ! same "$now" "$(current_of)"; then
			problem="it is $(text_of "$now"), isukit set $(text_of "$(current_of)")"
		else
			problem=$(check)
		fi
		[ -z "$problem" ] || {
			say drifted "$key" "$layer" "$problem"
			status=3
		}
	done <"$tmp/records"
	[ -n "$found" ] || echo "$self: $tuning is not applied to $target" >&2
}

# main runs COMMAND on the tuning in FILE.
main() {
	[ -f "$2" ] || usage "file $2 not found"
	tuning=$(sed -n '1s/^# Tuning \([a-z]*\/[a-z0-9-]*\): .*/\1/p' "$2")
	[ "${tuning%%/*}" = "$kind" ] || usage "$2 does not begin with \"# Tuning $kind/NAME: ...\""
	settings "$2" >"$tmp/settings"
	case $1 in apply | verify | revert) "$1" ;; *) usage "unknown command $1" ;; esac
	exit $status
}
