#!/bin/sh
# Makes the corpus of this directory: each body (.bin) from text or from bytes that are written here, what protoc reads in it (.txt), and,
# where protobuf has a JSON form of it, that form (.json) as Google's Python library writes it. Neither comes from isukit.
#   PROTOC: protoc 27 or later, since editions are among the schemas; the files here are from 35.1. PYTHON: with protobuf of the same age.
#   pip install grpcio-tools; PROTOC='python3 -m grpc_tools.protoc' PYTHON=python3 sh make.sh
# "make.sh DIR" writes to DIR, for a comparison.
set -eu
cd "$(dirname "$0")"
dir=${1:-.}
PROTOC=${PROTOC:-protoc}
: >"$dir/cases.tsv"
sets=$(mktemp -d)
trap 'rm -r "$sets"' EXIT
for f in letter old sets types; do
	$PROTOC -I. --include_imports --descriptor_set_out="$sets/$f.set" "$f.proto"
done
cp "$sets/sets.set" "$dir" # what a user with a MessageSet gives to --descriptor-set

# both NAME FILE TYPE WHAT: what protoc and the library read in NAME.bin. WHAT says what the body is.
both() {
	$PROTOC -I. --decode="$3" "$2.proto" <"$dir/$1.bin" >"$dir/$1.txt" 2>"$sets/warned"
	${PYTHON:-python3} - "$sets/$2.set" "$3" "$dir/$1" <<'PY'
import sys
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, json_format
files = descriptor_pb2.FileDescriptorSet.FromString(open(sys.argv[1], "rb").read())
pool = descriptor_pool.DescriptorPool()
for f in files.file:
    pool.Add(f)
classes = message_factory.GetMessages(files.file, pool=pool)
m = classes[sys.argv[2]]()
def texts(m):  # Python has no text for a string that is not UTF-8; what JSON makes of one is not defined
    for f, v in m.ListFields():
        for x in [] if f.message_type and f.message_type.GetOptions().map_entry else v if f.is_repeated else [v]:
            if f.type == f.TYPE_STRING and not isinstance(x, str) or f.message_type and texts(x):
                return True
try:
    m.ParseFromString(open(sys.argv[3] + ".bin", "rb").read())
    if texts(m):
        sys.exit()
    text = json_format.MessageToJson(m, preserving_proto_field_name=True, descriptor_pool=pool)
except Exception as e:  # no form in JSON: the reason is kept
    text = "none: %s" % e
open(sys.argv[3] + ".json", "w").write(text + "\n")
PY
	printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$(grep -c 'missing required' "$sets/warned" || true)" "$4" >>"$dir/cases.tsv"
}
# text NAME FILE TYPE WHAT: a body that protoc makes of the text on standard input.
text() {
	$PROTOC -I. --encode="$3" "$2.proto" >"$dir/$1.bin" 2>/dev/null
	both "$@"
}
# bytes NAME FILE TYPE WHAT: a body of the hexadecimal digits on standard input; what stands behind # is said about them.
bytes() {
	sed 's/#.*//' | xxd -r -p >"$dir/$1.bin"
	both "$@"
}

# spec NAME FORM: what a specification has for the last case in place of what the tools above give.
spec() { cat >"$dir/$1.$2"; }

# Editions.
text delimited letter letter.Letter 'DELIMITED fields under their own name and under their type'"'"'s, repeated, nested, in a oneof' <<'T'
delimited { n: 5 deeper { n: 6 } } Inner { n: 1 } many { n: 2 } many { } left { n: 3 }
T
bytes closed-map letter letter.Letter 'a map entry whose closed enum has an unknown number is an unknown field' <<'T'
1a05 0a016b 1009 # closed["k"] = 9
1a05 0a016c 1001 # closed["l"] = B
T
bytes closed-list letter letter.Letter 'unknown numbers of a closed enum, in a list that is packed and one that is not' <<'T'
4a03 010900 # list = [B, 9, A]
4801        # list = B
4807        # list = 7
T
bytes closed-one letter letter.Letter 'an unknown number of a closed enum after a known one' <<'T'
3001 3009 # one = B, one = 9
T
bytes open-map letter letter.Letter 'a map entry whose open enum has an unknown number' <<'T'
4204 0805 1009 # open[5] = 9
T
bytes utf8-none letter letter.Letter 'bytes in a string of utf8_validation = NONE' <<'T'
2203 61ff62
T
bytes utf8-cut letter letter.Letter 'a letter of a string of utf8_validation = NONE, cut off' <<'T'
2202 e6a4
T
text extensions letter letter.Letter 'extensions of a file and of a message, DELIMITED and repeated ones' <<'T'
[letter.more] { n: 7 } [letter.count]: 3 [letter.Holder.held] { n: 8 deeper { } } [letter.Holder.closed]: B [letter.Holder.closed]: A
T
bytes map-twice letter letter.Letter 'an entry twice: the last counts; the key behind its value; a value twice' <<'T'
1a05 0a016b 1001 # closed["k"] = B
1a03 0a016b      # closed["k"] without a value: A
5208 1202 0805 0a026b6b # inners["kk"], the value first
T
# protoc shows both entries. "When parsing from the wire or when merging, if there are duplicate map keys the last key seen is used"
# (https://protobuf.dev/programming-guides/proto3/#maps).
spec map-twice txt <<'T'
closed {
  key: "k"
  value: A
}
inners {
  key: "kk"
  value {
    n: 5
  }
}
T
bytes map-default letter letter.Letter 'entries without key, without value, without both' <<'T'
1a00      # closed[""] = A
4202 1001 # open[0] = ONE
5203 0a0178 # inners["x"] = {}
T
bytes oneof-twice letter letter.Letter 'both of a oneof: the last counts' <<'T'
6b 0803 6c # left { n: 3 }
7001       # right = B
T
bytes implicit letter letter.Letter 'a default value on the wire, of a field without presence and of one with' <<'T'
6200 2a00 # needed = "", strict = ""
T
bytes packing letter letter.Letter 'a list that is declared unpacked, sent packed and not' <<'T'
5a03 010203 5804
T
# Unknown fields.
bytes unknown letter letter.Letter 'unknown fields of every wire type, a group and a message among them' <<'T'
08e807          # 1 as a number, where a group is declared
a03e 7b         # 996: varint
a93e 0102030405060708 # 997: fixed 64
b53e 01020304   # 998: fixed 32
ba3e 02 0805    # 999: a message or text
c23e 03 ff0001  # 1000: bytes
cb3e 0805 cc3e  # 1001: a group
T
# proto2.
bytes old-bytes old old.Old 'bytes in a string of proto2, in an extension, too' <<'T'
0a02 fffe 1001 c23e 03 80e681
T
bytes old-missing old old.Old 'required fields that are missing: of the message, of items, of a group, of a map'"'"'s value, of an extension' <<'T'
1a00 1a03 0a0161 # items
23 1001 24       # Result { kind: FIRST }
3a04 0801 1200   # byflag[true]
ca3e 00          # [old.extra]
T
text old-full old old.Old 'everything of proto2 that is special' <<'T'
text: "x" id: -1 items { name: "a" price: 1.5 } Result { name: "r" kind: SECOND } Result { name: "s" } kinds { key: "k" value: SECOND }
blobs { key: "b" value: "\000\377" } byflag { key: false value { name: "no" } } packed: 1 packed: -1 [old.note]: "n" [old.extra] { name: "e" price: inf }
T
bytes old-enum old old.Old 'unknown numbers of closed enums: in a group, in a map' <<'T'
1001 23 0a0172 1063 24 # Result { name: "r" kind: 99 }
2a05 0a016b 1063       # kinds["k"] = 99
T
text set-beside sets sets.Beside 'a message beside a MessageSet' <<'T'
name: "b"
T
# What has no form in JSON, with what stands beside it.
text year-10000 types types.Types 'a timestamp behind the year 9999' <<'T'
name: "x" at { seconds: 253402300800 }
T
text year-0 types types.Types 'a timestamp before the year 1' <<'T'
name: "x" at { seconds: -62135596801 } score: 2
T
text nanos types types.Types 'nanoseconds out of range' <<'T'
name: "x" at { seconds: 1 nanos: 1000000000 }
T
text long types types.Types 'a duration of more than 10,000 years' <<'T'
name: "x" wait { seconds: 315576000001 }
T
text signs types types.Types 'a duration with two signs' <<'T'
name: "x" wait { seconds: -1 nanos: 1 }
T
text empty-value types types.Types 'a Value without a kind' <<'T'
name: "x" value { }
T
# The library writes null. "Absence of any variant indicates an error" (google/protobuf/struct.proto), and null reads back as another message.
echo 'none: absence of any variant indicates an error' | spec empty-value json
text nan-value types types.Types 'NaN as a Value' <<'T'
name: "x" value { number_value: nan }
T
text inf-value types types.Types 'Infinity in a list in a Struct' <<'T'
name: "x" struct { fields { key: "a" value { list_value { values { number_value: -inf } values { bool_value: true } } } } fields { key: "b" value { string_value: "s" } } }
T
text empty-in-list types types.Types 'a Value without a kind in a ListValue' <<'T'
name: "x" list { values { null_value: NULL_VALUE } values { } }
T
echo 'none: absence of any variant indicates an error' | spec empty-in-list json
text mask types types.Types 'a field mask that does not come back from lowerCamelCase' <<'T'
name: "x" mask { paths: "a_b" paths: "fooBar" }
T
text mask-digits types types.Types 'a field mask with an underscore before a digit' <<'T'
name: "x" mask { paths: "a_1" }
T
text any-unknown types types.Types 'an Any of a type that no file has' <<'T'
name: "x" any { type_url: "type.googleapis.com/no.Such" value: "\010\001" }
T
text any-damaged types types.Types 'an Any whose bytes are not of its type' <<'T'
name: "x" any { type_url: "type.googleapis.com/types.Crew" value: "\012\005a" }
T
text any-no-type types types.Types 'an Any without a type, but with bytes' <<'T'
name: "x" any { value: "\010\001" }
T
text any-year types types.Types 'an Any of a timestamp without a form' <<'T'
name: "x" any { [type.googleapis.com/google.protobuf.Timestamp] { seconds: 253402300800 } }
T
text deep types types.Types 'deep within, in a map, in a list' <<'T'
name: "x" more { name: "y" more { wait { seconds: 400000000000 } name: "z" } } times { key: "k" value { nanos: -1 } } times { key: "l" value { seconds: 1 } }
details { [type.googleapis.com/types.Crew] { name: "t" } } details { type_url: "x/no.Such" } waits { key: -1 value { nanos: 500000000 } }
T
# What has one.
text all-types types types.Types 'the well-known types at their bounds' <<'T'
name: "\346\244\205\345\255\220" at { seconds: 253402300799 nanos: 999999999 } wait { seconds: -315576000000 } value { list_value { } } mask { paths: "a.b_c" paths: "d" } note { value: "" } big { value: -9223372036854775808 }
struct { } list { } ratio { value: nan } color: GREEN raw: "\000\377" score: -inf yes { } any { [type.googleapis.com/types.Types] { any { [type.googleapis.com/google.protobuf.Duration] { nanos: -5 } } } }
T
bytes open-enum types types.Types 'a number that an open enum lacks' <<'T'
7005
T
bytes oneof-messages types types.Types 'the same message of a oneof twice: they are one' <<'T'
9a01 03 0a0161 9a01 03 120162 # team { name: "a" }, team { tags: "b" }
T
# What a person types, and the message that is meant; protoc makes its bytes. The arguments are in NAME.args, one a line.
typed() {
	name=$1
	shift
	printf '%s\n' "$@" >"$dir/$name.args"
	text "$name" types types.Types "what isukit encode makes of $name.args"
}
typed typed-times at=2026-11-30T21:00:00+09:00 at.nanos=5 wait=1.5s 'times[a.b]=1970-01-01T00:00:01Z' 'waits[-1].seconds=-2' <<'T'
at { seconds: 1796040000 nanos: 5 } wait { seconds: 1 nanos: 500000000 } times { key: "a.b" value { seconds: 1 } } waits { key: -1 value { seconds: -2 } }
T
typed typed-seconds at.seconds=5 <<'T'
at { seconds: 5 }
T
typed typed-wrappers note=5 big=-7 ratio=-inf yes=true score=nan <<'T'
note { value: "5" } big { value: -7 } ratio { value: -inf } yes { value: true } score: nan
T
typed typed-any 'any[types.Crew].name=in' 'any[types.Crew].tags=a' 'details[0][type.googleapis.com/types.Crew].id=7' 'details[1][google.protobuf.Duration]="2s"' <<'T'
any { [type.googleapis.com/types.Crew] { name: "in" tags: "a" } }
details { [type.googleapis.com/types.Crew] { id: 7 } } details { [type.googleapis.com/google.protobuf.Duration] { seconds: 2 } }
T
typed typed-lists 'teams[0].name=first' 'teams[1].name=second' 'teams[0].tags=x' 'teams[0].tags=y' 'by[k].name=v' 'more[0].more[0].name=deep' 'teams={"name":"third"}' <<'T'
teams { name: "first" tags: "x" tags: "y" } teams { name: "second" } teams { name: "third" } by { key: "k" value { name: "v" } } more { more { name: "deep" } }
T
typed typed-struct 'struct.fields[a].number_value=1' 'struct.fields[b].list_value.values[0].string_value=s' 'value={"x":[null,true]}' mask=a.b_c,d <<'T'
struct { fields { key: "a" value { number_value: 1 } } fields { key: "b" value { list_value { values { string_value: "s" } } } } } mask { paths: "a.b_c" paths: "d" }
value { struct_value { fields { key: "x" value { list_value { values { null_value: NULL_VALUE } values { bool_value: true } } } } } }
T
typed typed-plain name=椅子 color=GREEN raw=AP8 score=1e5 team.id=18446744073709551615 <<'T'
name: "\346\244\205\345\255\220" color: GREEN raw: "\000\377" score: 100000 team { id: 18446744073709551615 }
T

# Coverings: all-types.bin as tools and libraries wrap it. The end of a file's name is the kind that it has to be called.
mkdir -p "$dir/coverings"
b=$dir/all-types.bin
c=$dir/coverings
gzip -nc "$b" >"$c/gzip.gzip"
perl -MCompress::Zlib -e 'undef $/; print compress(<STDIN>)' <"$b" >"$c/zlib.zlib"
perl -MCompress::Zlib -e 'undef $/; print compress(<STDIN>, 1)' <"$b" >"$c/zlib-1.zlib"
zstd -qc "$b" >"$c/zstd.zstd"
xxd "$b" >"$c/xxd.hexdump"
xxd -u -c 8 "$b" >"$c/xxd-c8.hexdump"
xxd -e "$b" >"$c/xxd-e.hexdump"      # groups of four, the low byte first
xxd -e -g 2 "$b" >"$c/xxd-e-g2.hexdump"
xxd -g 4 "$b" >"$c/xxd-g4.hexdump"
xxd -b "$b" >"$c/xxd-b.hexdump"
hexdump -C "$b" >"$c/hexdump-C.hexdump"
hexdump "$b" >"$c/hexdump.hexdump" # words, the low byte first
od -x "$b" >"$c/od-x.hexdump"
od -A x -t x1z "$b" >"$c/od-x1z.hexdump"
xxd -p "$b" >"$c/xxd-p.hex"
xxd -i <"$b" >"$c/xxd-i.hex"
od -A n -t x1 "$b" >"$c/od-An.hex"
base64 "$b" >"$c/base64.base64"
basenc --base64url -w 0 "$b" | tr -d = >"$c/url.base64"
{ printf 'HTTP/1.1 200 OK\r\nContent-Length: 199\r\n\r\n' && cat "$b"; } >"$c/curl-i.http"
${PYTHON:-python3} - "$b" "$c" <<'PY'
import sys, io
body, c = open(sys.argv[1], "rb").read(), sys.argv[2] + "/"
def write(name, data):
    open(c + name, "wb").write(data)
def chunks(n):  # RFC 9112, 7.1
    return b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + n]), body[i:i + n]) for i in range(0, len(body), n)) + b"0\r\n"
write("one.chunked", chunks(1000) + b"\r\n")
write("many.chunked", chunks(64) + b"\r\n")
write("trailers.chunked", chunks(64) + b"Grpc-Status: 0\r\nX-Y: z\r\n\r\n")
write("extension.chunked", chunks(1000).replace(b"\r\n", b";a=b\r\n", 1) + b"\r\n")
from google.protobuf.internal.encoder import _VarintBytes  # what writeDelimitedTo of other languages writes
one = _VarintBytes(len(body)) + body
write("one.delimited", one)
write("many.delimited", one + one + b"\0")
write("unary.grpc", b"\0" + len(body).to_bytes(4, "big") + body)
write("web.grpc", b"\0" + len(body).to_bytes(4, "big") + body + b"\x80\0\0\0\x0fgrpc-status:0\r\n")
PY
