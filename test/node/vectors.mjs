// Reads the vectors of the resumable protocol (protocol/resume/wire/testdata, whose directory
// is the argument) by a codec that knows nothing of ours. Prints how many of each kind it has
// checked, and fails with what is wrong.
import { readFileSync } from "node:fs";
import { isDeepStrictEqual as same } from "node:util";
import { body, encode, Fault, frames, from, hex, need, unhex } from "./frames.mjs";

// receive is what a receiver makes of a DATA or a CLOSE [7.3].
function receive(r, limit, f) {
  const close = f.frame === "CLOSE", end = f.offset + f.length;
  if (f.number < r.awaited && f.number !== r.closed) return close ? "contrary" : "skipped";
  if (r.closed) return close && f.number === r.closed ? "skipped" : "contrary";
  if (f.number > r.awaited || f.offset > r.held) return "gap";
  if (close) {
    if (r.held > 0) return "contrary";
    r.closed = r.awaited++;
    return "close";
  }
  if (r.held > 0 && (f.binary !== r.binary || (!f.more && end <= r.held))) return "contrary";
  if (limit > 0 && end > limit) return "large";
  if (f.more && end <= r.held) return "skipped";
  Object.assign(r, f.more ? { held: end, binary: f.binary } : { held: 0, awaited: r.awaited + 1 });
  return f.more ? "piece" : "whole";
}

// talk follows a conversation that is there from its opening on: nobody may acknowledge what
// the other has not sent.
function talk(steps) {
  const sent = { client: 0, server: 0 };
  for (const { from: side, frames: all } of steps)
    for (const f of all) {
      if (f.type === "DATA" || f.type === "CLOSE") sent[side] = Math.max(sent[side], f.number);
      const ack = f.type === "ACK" ? f : f.json;
      if (ack?.received !== undefined) need(ack.received + (ack.ahead ?? 0) <= sent[side === "client" ? "server" : "client"], `${side} acknowledges too much`);
    }
}

// check counts a case, and notes where it is not as it should be.
const checked = {}, wrong = [];
function check(kind, name, want, f) {
  let got;
  try { got = f(); } catch (e) { if (!((got = e.message), e instanceof Fault)) got = e.stack; }
  checked[kind] = (checked[kind] ?? 0) + 1;
  if (!same(got, want)) wrong.push(`${kind}: ${name}: ${JSON.stringify(got)?.slice(0, 500)}; want ${JSON.stringify(want)?.slice(0, 500)}`);
}

const load = (name) => JSON.parse(readFileSync(`${process.argv[2]}/${name}.json`));
const bytes = (v) => Buffer.concat([unhex(v.hex), Buffer.alloc(v.fill ?? 0, "a")]);
const meant = ({ fill, ...f }) => (fill ? { ...f, payload: f.payload + "61".repeat(fill) } : f);
const whole = (b) => { const all = frames(b); return need(all.length === 1, "cut") && all[0]; };

const { valid, invalid } = load("frames"), { requests, queries } = load("requests");
for (const v of valid) {
  check("valid", v.name, meant(v.frame), () => whole(bytes(v)));
  if (v.frame.json) check("encoded", v.name, v.frame, () => whole(encode(v.frame)));
  else if (!v.frame.skip) check("encoded", v.name, hex(bytes(v)), () => hex(encode(meant(v.frame))));
}
for (const v of invalid) check("invalid", v.name, v.error, () => whole(bytes(v)));
for (const v of requests) check("requests", v.name, v.error ?? true, () => body(v.kind, bytes(v)) && true);
for (const v of queries) check("queries", v.query, [v.kind, v.rest], () => v.query.match(/^(?:(.*)&)?sidecar=(stream|poll|send)$/)?.slice(1, 3).map((s) => s ?? "").reverse() ?? [undefined, undefined]);
for (const { name, limit, steps } of load("assembly").cases) {
  const r = { awaited: 1, held: 0, binary: false };
  for (const s of steps) check("assembly", name, [s.want, s.awaited, s.held], () => [receive(r, limit, s), r.awaited, r.held]);
}
for (const { name, steps } of load("exchanges").exchanges) {
  for (const s of steps) {
    check("exchanges", name, s.frames, () => frames(unhex(s.hex)));
    check("encoded", name, s.hex, () => hex(Buffer.concat(s.frames.map(encode))));
    check("sides", name, [], () => s.frames.filter((f) => ![s.from, "both"].includes(from(f))));
    if (s.from === "client" && s.carrier !== "websocket") check("sides", name, s.frames, () => body(s.carrier, unhex(s.hex)));
  }
  const opens = steps[0].frames[0].type === "HELLO" && !steps[0].frames[0].json.session;
  if (opens) check("talks", name, undefined, () => talk(steps));
}
console.log(JSON.stringify(checked));
if (wrong.length > 0) {
  console.error(wrong.join("\n"));
  process.exitCode = 1;
}
