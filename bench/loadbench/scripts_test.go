package loadbench

import (
	"bytes"
	"fmt"
)

// luaCheck is a wrk script that does what message.check does: walk the fields and compare each with what is known.
func luaCheck(m *message) []byte {
	var b bytes.Buffer
	b.WriteString("local want = {\n")
	for _, s := range m.want.Standings {
		fmt.Fprintf(&b, "  {%d, %q, %d, %d, %d, %d, %d},\n", s.TeamId, s.TeamName, s.Rank, s.BestScore, s.LatestScore, s.ResultCount,
			s.LatestAtUs)
	}
	fmt.Fprintf(&b, "}\nlocal total, phase = %d, %d\n", m.want.Total, m.want.Phase)
	b.WriteString(luaScan)
	return b.Bytes()
}

const luaScan = `local byte, sub = string.byte, string.sub
local function varint(s, i)
  local v, m = 0, 1
  while true do
    local c = byte(s, i)
    i = i + 1
    if c < 128 then return v + c * m, i end
    v = v + (c - 128) * m
    m = m * 128
  end
end
local function standing(s, i, last, w)
  local seen = 0
  while i <= last do
    local tag, v
    tag, i = varint(s, i)
    v, i = varint(s, i)
    if tag % 8 == 2 then
      i = i + v
      v = sub(s, i - v, i - 1)
    end
    if v ~= w[(tag - tag % 8) / 8] then error("wrong answer") end
    seen = seen + 1
  end
  if seen ~= 7 then error("wrong answer") end
end
function response(status, headers, body)
  if status ~= 200 or headers["Content-Type"] ~= "application/protobuf" then error("wrong answer") end
  local i, n = 1, 0
  while i <= #body do
    local tag, v
    tag, i = varint(body, i)
    v, i = varint(body, i)
    if tag == 10 then
      n = n + 1
      standing(body, i, i + v - 1, want[n])
      i = i + v
    elseif v ~= (tag == 16 and total or phase) then
      error("wrong answer")
    end
  end
  if n ~= #want then error("wrong answer") end
end
`

const k6Source = `import http from "k6/http";
import { check } from "k6";
export const options = { vus: %s, duration: "%s" };
export default function () {
  const r = http.get("%s", { responseType: "binary" });
  check(r, { ok: (r) => r.status === 200 && r.body.byteLength > 900 });
}
`

const k6Head = `import http from "k6/http";
export const options = { vus: %s, duration: "%s" };
const url = "%s";
`

// jsCheck is luaCheck for k6.
func jsCheck(m *message) []byte {
	var b bytes.Buffer
	b.WriteString("const want = [\n")
	for _, s := range m.want.Standings {
		fmt.Fprintf(&b, "  [, %d, %q, %d, %d, %d, %d, %d],\n", s.TeamId, s.TeamName, s.Rank, s.BestScore, s.LatestScore, s.ResultCount,
			s.LatestAtUs)
	}
	fmt.Fprintf(&b, "];\nconst total = %d, phase = %d;\n", m.want.Total, m.want.Phase)
	b.WriteString(jsScan)
	return b.Bytes()
}

const jsScan = `let at = 0;
function varint(b) {
  let v = 0, m = 1;
  for (;;) {
    const c = b[at++];
    if (c < 128) return v + c * m;
    v += (c - 128) * m;
    m *= 128;
  }
}
function standing(b, last, w) {
  let seen = 0;
  while (at < last) {
    const tag = varint(b);
    let v = varint(b);
    if (tag % 8 === 2) {
      at += v;
      v = String.fromCharCode.apply(null, b.subarray(at - v, at));
    }
    if (v !== w[(tag - tag % 8) / 8]) throw new Error("wrong answer");
    seen++;
  }
  if (seen !== 7) throw new Error("wrong answer");
}
export default function () {
  const r = http.get(url, { responseType: "binary" });
  if (r.status !== 200 || r.headers["Content-Type"] !== "application/protobuf") throw new Error("wrong answer");
  const b = new Uint8Array(r.body);
  let n = 0;
  at = 0;
  while (at < b.length) {
    const tag = varint(b), v = varint(b);
    if (tag === 10) {
      standing(b, at + v, want[n++]);
    } else if (v !== (tag === 16 ? total : phase)) {
      throw new Error("wrong answer");
    }
  }
  if (n !== want.length) throw new Error("wrong answer");
}
`
