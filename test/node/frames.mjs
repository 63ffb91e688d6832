// A codec of the resumable protocol, written from docs/protocol.md alone: [n] are its sections.
// It shows that the document is enough to write one; the browser's client has its own.
export class Fault extends Error {}
const fail = (kind) => { throw new Fault(kind); };
export const need = (ok, kind = "body") => ok || fail(kind);
const MOST = Number.MAX_SAFE_INTEGER; // 2^53 - 1

// Types by number: name, who sends it, the most bytes of its body [4.2].
const types = new Map([
  [1, ["HELLO", "client", 8192]], [2, ["WELCOME", "server", 8192]], [3, ["REFUSED", "server", 8192]],
  [4, ["GONE", "server", 8192]], [5, ["CONTINUE", "client", 216]], [6, ["USE", "client", 16]],
  [7, ["DATA", "both", 65553]], [8, ["ACK", "both", 24]], [9, ["CLOSE", "both", 133]], [10, ["PING", "both", 8]],
  [11, ["PONG", "both", 8]], [12, ["GOAWAY", "server", 8]], [13, ["PAD", "server", 4096]],
]);
for (let n = 128; n < 192; n++) types.set(n, ["0x" + n.toString(16), "both", 4096, "skip"]);
const byName = new Map([...types].map(([n, [name, from]]) => [name, { n, from }]));

// varint reads a number at p.at [4.1].
function varint(p, cut, bad) {
  for (let n = 0, i = 0, scale = 1; ; i++, scale *= 128) {
    need(p.at < p.b.length, cut);
    const c = p.b[p.at++];
    n += (c & 127) * scale;
    need(i < 7 || c < 128, bad);
    if (c < 128) return need((c > 0 || i === 0) && n <= MOST, bad) && n;
  }
}

function numbers(...all) {
  return Buffer.concat(all.map((n) => {
    const out = [];
    for (; n > 127; n = Math.floor(n / 128)) out.push(n % 128 | 128);
    return Buffer.from([...out, n]);
  }));
}

const utf8 = (b) => {
  try { return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(b); } catch { return fail("body"); }
};
const id = (least, most) => (s) => typeof s === "string" && s.length >= least && s.length <= most && /^[A-Za-z0-9._~-]*$/.test(s);
const int = (least, most = MOST) => (n, raw) => /^(0|[1-9][0-9]*)$/.test(raw) && n >= least && n <= most;
const protocol = (s) => typeof s === "string" && s.length <= 4096 && /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(s);
const year = int(0, 366 * 24 * 3600 * 1000);
const place = { received: int(0), ahead: int(0), partial: int(0), lowest: int(1) };

// Members of JSON bodies, and those that must be there [5.2, 5.3, 5.6, 9.2].
const json = {
  HELLO: [{ ...place, version: int(1), attempt: id(22, 64), generation: int(1), use: int(0), session: id(1, 128), token: id(1, 64), window: int(4096, 2 ** 30),
    protocols: (l) => Array.isArray(l) && l.length <= 32 && l.every(protocol) && new Set(l).size === l.length }, ["version", "attempt", "generation", "window"]],
  WELCOME: [{ ...place, version: int(1), session: id(1, 128), token: id(1, 64), protocol: (s) => s === "" || protocol(s), window: int(4096), message: int(0),
    heartbeat: year, timeout: year, rotate: year, ttl: (n, raw) => n > 0 && year(n, raw) }, ["version", "session", "token", "lowest", "window", "ttl"]],
  REFUSED: [{ status: int(200, 599), retry: int(0, 3600000),
    text: (s) => typeof s === "string" && Buffer.byteLength(s) <= 200 && /^(?:[^\p{C}\p{Z}]| )*$/u.test(s) }, ["status"]],
  GONE: [{ reason: (s) => typeof s === "string" && /^[a-z_]{1,32}$/.test(s) }, ["reason"]],
};

// object reads a JSON body as [5.1] wants it: JSON.parse alone sees no name that comes twice,
// and does not tell 1 from 1.0.
function object(name, b) {
  const text = utf8(b);
  let all;
  try { all = JSON.parse(text); } catch { fail("body"); }
  need(all !== null && typeof all === "object" && !Array.isArray(all));
  const raw = new Map();
  let depth = 0, member, before;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g)) {
    if (depth === 1 && token === ":") {
      member = JSON.parse(before);
      need(!raw.has(member));
      raw.set(member, "");
    } else if (depth === 1 && token === ",") member = undefined;
    else if (member !== undefined) raw.set(member, raw.get(member) + token);
    depth += "{[".includes(token) - "}]".includes(token);
    before = token;
  }
  const [known, must] = json[name];
  need(must.every((m) => raw.has(m)));
  for (const [m, ok] of Object.entries(known)) need(!raw.has(m) || ok(all[m], raw.get(m).replace(/}$/, "")));
  const { received = 0, ahead = 0, partial = 0, lowest = 1 } = all;
  need(received + ahead < MOST);
  if (name === "HELLO") {
    need(("session" in all) === ("token" in all));
    need("session" in all || (received === 0 && ahead === 0 && partial === 0 && lowest === 1));
  }
  return { type: name, json: all };
}

// Bodies that are not JSON, read and written [4.3].
export const hex = (b) => Buffer.from(b).toString("hex");
export const unhex = (s) => Buffer.from(s, "hex");
const string = (p, least, most) => {
  const n = varint(p, "body", "body");
  const s = p.b.subarray(p.at, (p.at += n)).toString("latin1");
  return need(p.at <= p.b.length && id(least, most)(s)) && s;
};
const reading = {
  CONTINUE: (p, v) => ({ generation: need((v = varint(p, "body", "body")) > 0) && v, session: string(p, 1, 128), token: string(p, 1, 64) }),
  USE: (p, n) => { const turn = n(), generation = n(); return need(turn > 0 && generation > 0) && { turn, generation }; },
  DATA: (p, n) => {
    const flags = p.b[p.at++], number = n(), offset = n(), payload = rest(p), more = (flags & 2) > 0, size = payload.length;
    need(flags < 4 && number > 0 && size <= 65536 && (!more || size >= 1024) && (size > 0 || offset === 0) && offset <= MOST - size);
    return { binary: (flags & 1) > 0, more, number, offset, payload: hex(payload) };
  },
  ACK: (p, n) => { const received = n(), ahead = n(), partial = n(); return need(received + ahead < MOST) && { received, ahead, partial }; },
  CLOSE: (p, n) => {
    const number = n(), code = p.b[p.at++] * 256 + p.b[p.at++], bytes = rest(p), reason = utf8(bytes);
    need(number > 0 && code >= 1000 && code <= 4999 && bytes.length <= 123 && (bytes.length === 0 || (code !== 1005 && code !== 1006)));
    return { number, code, reason };
  },
  PING: (p) => ({ mark: hex(rest(p)) }), PONG: (p) => ({ mark: hex(rest(p)) }),
  GOAWAY: (p, n) => ({ within: n() }), PAD: (p) => ({ length: rest(p).length }),
};
const rest = (p) => p.b.subarray(p.at, (p.at = Math.max(p.at, p.b.length)));
const writing = {
  CONTINUE: (f) => [numbers(f.generation, f.session.length), Buffer.from(f.session), numbers(f.token.length), Buffer.from(f.token)],
  USE: (f) => [numbers(f.turn, f.generation)], ACK: (f) => [numbers(f.received, f.ahead, f.partial)],
  DATA: (f) => [Buffer.from([f.binary + 2 * f.more]), numbers(f.number, f.offset), unhex(f.payload)],
  CLOSE: (f) => [numbers(f.number), Buffer.from([f.code >> 8, f.code & 255]), Buffer.from(f.reason)],
  PING: (f) => [unhex(f.mark)], PONG: (f) => [unhex(f.mark)], GOAWAY: (f) => [numbers(f.within)], PAD: (f) => [Buffer.alloc(f.length, " ")],
};

// decode takes the frame at p.at.
function decode(p) {
  need(p.at < p.b.length, "cut");
  const [name, , most, skip] = types.get(p.b[p.at++]) ?? fail("type");
  const n = varint(p, "cut", "number");
  need(n <= most, "long");
  need(p.at + n <= p.b.length, "cut");
  const q = { b: p.b.subarray(p.at, (p.at += n)), at: 0 };
  if (skip) return { type: name, skip: true };
  if (json[name]) return object(name, q.b);
  const f = { type: name, ...reading[name](q, () => varint(q, "body", "body")) };
  return need(q.at === q.b.length) && f;
}

export function encode(f) {
  const body = f.json ? Buffer.from(JSON.stringify(f.json)) : Buffer.concat(writing[f.type](f));
  return Buffer.concat([Buffer.from([byName.get(f.type).n]), numbers(body.length), body]);
}

// from says who sends a frame.
export const from = (f) => byName.get(f.type).from;

export function frames(b) {
  const all = [];
  for (const p = { b, at: 0 }; p.at < b.length; ) all.push(decode(p));
  return all;
}

// body reads a request's body, or a WebSocket's first message [3.1, 3.2, 5.2, 12].
export function body(kind, b) {
  const all = [];
  for (const p = { b, at: 0 }; p.at < b.length; ) {
    const f = decode(p), [first] = all;
    const begins = f.type === "HELLO" ? kind !== "send" : f.type === "CONTINUE" && (kind === "poll" || kind === "send");
    const follows = first?.json?.session || (first?.type === "CONTINUE" && (all.length > 1 || f.type === "ACK"));
    const sent = f.type !== "HELLO" && f.type !== "CONTINUE" && from(f) !== "server";
    need(first ? follows && sent : begins, "order");
    all.push(f);
  }
  return need(all.length > (all[0]?.type === "CONTINUE" ? 1 : 0), "order") && all;
}
