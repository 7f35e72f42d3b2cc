// Shows the leaderboard. Answers are bare protobuf messages; what is read of them here is in
// proto/portal/v1/leaderboard.proto and contest.proto.
"use strict";

const refreshMS = 5000;
const phases = ["", "not begun", "running", "frozen", "ended"];

// fields gives [number, value] of every field of a message: a BigInt for a number, bytes for a string or a message.
function* fields(bytes) {
  let at = 0;
  const byte = () => {
    if (at >= bytes.length) throw new Error("the message is truncated");
    return bytes[at++];
  };
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const b = byte();
      value |= BigInt(b & 0x7f) << shift;
      if (b < 0x80) return BigInt.asIntN(64, value);
    }
    throw new Error("a number is too long");
  };
  const take = (n) => {
    if (n < 0 || n > bytes.length - at) throw new Error("the message is truncated");
    at += n;
    return bytes.subarray(at - n, at);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    switch (key & 7) {
      case 0: yield [key >>> 3, varint()]; break;
      case 1: yield [key >>> 3, take(8)]; break;
      case 2: yield [key >>> 3, take(Number(varint()))]; break;
      case 5: yield [key >>> 3, take(4)]; break;
      default: throw new Error(`field ${key >>> 3} has an unknown wire type`);
    }
  }
}

const text = (bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

function readStanding(bytes) {
  const standing = { team: "", rank: 0n, best: 0n, latest: 0n, count: 0n, latestAtUS: 0n };
  for (const [number, value] of fields(bytes)) {
    switch (number) {
      case 2: standing.team = text(value); break;
      case 3: standing.rank = value; break;
      case 4: standing.best = value; break;
      case 5: standing.latest = value; break;
      case 6: standing.count = value; break;
      case 7: standing.latestAtUS = value; break;
    }
  }
  return standing;
}

function readLeaderboard(bytes) {
  const board = { standings: [], total: 0n, phase: 0 };
  for (const [number, value] of fields(bytes)) {
    switch (number) {
      case 1: board.standings.push(readStanding(value)); break;
      case 2: board.total = value; break;
      case 3: board.phase = Number(value); break;
    }
  }
  return board;
}

function readErrorMessage(bytes) {
  for (const [number, value] of fields(bytes)) {
    if (number === 2) return text(value);
  }
  return "";
}

async function fetchLeaderboard() {
  const response = await fetch("/api/leaderboard");
  const type = response.headers.get("Content-Type") || "";
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (!response.ok) {
    const said = type.includes("proto=portal.v1.Error") ? readErrorMessage(bytes) : "";
    throw new Error(said || `the server answered ${response.status}`);
  }
  if (!type.startsWith("application/protobuf")) throw new Error(`the server answered with ${type || "no type"}`);
  return readLeaderboard(bytes);
}

const numbers = new Intl.NumberFormat("en");
const times = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

function cell(content, className) {
  const td = document.createElement("td");
  td.textContent = content;
  td.className = className;
  return td;
}

function row(standing) {
  const tr = document.createElement("tr");
  tr.append(
    cell(String(standing.rank), "number"),
    cell(standing.team, ""),
    cell(numbers.format(standing.best), "number"),
    cell(numbers.format(standing.latest), "number"),
    cell(numbers.format(standing.count), "number"),
    cell(times.format(new Date(Number(standing.latestAtUS / 1000n))), "time"),
  );
  return tr;
}

function show(board) {
  const table = document.getElementById("leaderboard");
  table.tBodies[0].replaceChildren(...board.standings.map(row));
  table.hidden = board.standings.length === 0;
  document.getElementById("total").textContent =
    `${board.standings.length} of ${numbers.format(board.total)} teams with a passed run`;
  const phase = document.getElementById("phase");
  phase.textContent = phases[board.phase] || "";
  phase.hidden = phase.textContent === "";
  say(board.standings.length === 0 ? "No team has passed yet." : "", false);
}

function say(message, failed) {
  const p = document.getElementById("message");
  p.textContent = message;
  p.hidden = message === "";
  p.classList.toggle("failed", failed);
}

async function refresh() {
  try {
    show(await fetchLeaderboard());
  } catch (err) {
    say(`The leaderboard could not be read: ${err.message}.`, true);
  }
  setTimeout(refresh, refreshMS);
}

refresh();
