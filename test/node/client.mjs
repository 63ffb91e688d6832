// A ws client that plays scenarios against the URL given, ws://host:port, and
// prints what it saw, one JSON object a line. It does not judge; the test does.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { WebSocket } from "ws";

const base = process.argv[2];
const http = base.replace(/^ws/, "http");
const hash = (b) => createHash("sha256").update(b).digest("hex").slice(0, 16);

// open resolves to how the handshake ended, and never rejects.
function open(path, protocols = [], options = {}) {
  const ws = new WebSocket(base + path, protocols, { perMessageDeflate: false, ...options });
  ws.inbox = [];
  ws.on("message", (data, binary) => {
    ws.inbox.push({ data, binary });
    ws.emit("inbox");
  });
  // A ping may come in one packet with the answer to the handshake, before whoever
  // awaits open() goes on.
  ws.pinged = new Promise((r) => ws.on("ping", (d) => r(d.toString())));
  ws.closing = new Promise((r) => ws.on("close", (code, reason) => r({ code, reason: reason.toString() })));
  return new Promise((resolve) => {
    ws.on("open", () => resolve({ ws }));
    ws.on("error", (e) => resolve({ error: e.message }));
    ws.on("unexpected-response", (_, res) => {
      let body = "";
      res.on("data", (c) => (body += c));
      res.on("end", () => resolve({ status: res.statusCode, message: res.statusMessage, headers: res.headers, body }));
    });
  });
}

async function next(ws) {
  while (ws.inbox.length === 0) await new Promise((r) => ws.once("inbox", r));
  return ws.inbox.shift();
}

const closedAtBackend = async (id) => (await fetch(`${http}/closed?id=${id}`)).json();

// echo sends messages of the sizes given, text and binary in turn, all at once.
async function echo(path, sizes, options) {
  const { ws, ...failed } = await open(path, [], options);
  if (!ws) return failed;
  const sent = sizes.map((n, i) => ({ binary: i % 2 === 1, data: i % 2 ? randomBytes(n) : Buffer.from("ä€a".repeat(n).slice(0, n)) }));
  for (const m of sent) ws.send(m.data, { binary: m.binary });
  let same = 0;
  for (const m of sent) {
    const got = await next(ws);
    if (got.binary === m.binary && hash(got.data) === hash(m.data)) same++;
  }
  ws.close(1000, "done");
  return { sent: sent.length, same, extensions: ws.extensions, closed: await ws.closing };
}

const small = [0, 1, 125, 126, 127, 1000, 65535, 65536, 70000];

const scenarios = {
  echo: () => echo("/echo", small),
  "echo with compression": () => echo("/echo?deflate=1", small, { perMessageDeflate: { threshold: 0 } }),
  "compression offered, not wanted": () => echo("/echo", small, { perMessageDeflate: true }),
  "one megabyte": () => echo("/echo", [1 << 20, 1 << 20, 300000]),
  "one megabyte with compression": () => echo("/echo?deflate=1", [1 << 20, 1 << 20], { perMessageDeflate: true }),

  async subprotocol() {
    const { ws, ...failed } = await open("/echo?protocol=second", ["first", "second"]);
    if (!ws) return failed;
    const seen = { protocol: ws.protocol };
    ws.close();
    await ws.closing;
    return seen;
  },

  async headers() {
    const { ws, ...failed } = await open("/headers?room=1&x=%20y", ["chat"], {
      headers: { Cookie: "a=1; b=2", Authorization: "Bearer secret", "X-Own": "kept", "X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6" },
      origin: http,
    });
    if (!ws) return failed;
    const seen = JSON.parse((await next(ws)).data);
    ws.close();
    await ws.closing;
    return seen;
  },

  async "fragments with a ping between"() {
    const { ws, ...failed } = await open("/echo");
    if (!ws) return failed;
    const pong = new Promise((r) => ws.on("pong", (d) => r(d.toString())));
    ws.send("one ", { fin: false });
    ws.ping("in between");
    ws.send("two ", { fin: false });
    ws.send("three", { fin: true });
    const got = (await next(ws)).data.toString();
    ws.close();
    await ws.closing;
    return { got, pong: await pong };
  },

  async "pinged by the backend"() {
    const { ws, ...failed } = await open("/ping?payload=from+the+backend");
    if (!ws) return failed;
    const seen = { ping: await ws.pinged, pong: (await next(ws)).data.toString() };
    ws.close();
    await ws.closing;
    return seen;
  },

  async "close by the backend"() {
    const { ws, ...failed } = await open("/close?code=4321&reason=" + encodeURIComponent("bis später"));
    if (!ws) return failed;
    ws.send("now");
    return ws.closing;
  },

  async "close without a code by the backend"() {
    const { ws, ...failed } = await open("/close");
    if (!ws) return failed;
    ws.send("now");
    return ws.closing;
  },

  async "close by the client"() {
    const id = randomUUID();
    const { ws, ...failed } = await open("/echo?id=" + id);
    if (!ws) return failed;
    ws.close(4999, "see you");
    return { client: await ws.closing, backend: await closedAtBackend(id) };
  },

  async "text that is no UTF-8"() {
    const { ws, ...failed } = await open("/echo");
    if (!ws) return failed;
    ws.send(Buffer.from([0x61, 0xff]), { binary: false });
    return ws.closing;
  },

  async "client gone without a close"() {
    const id = randomUUID();
    const { ws, ...failed } = await open("/echo?id=" + id);
    if (!ws) return failed;
    ws.terminate();
    return { backend: await closedAtBackend(id) };
  },

  async "backend gone without a close"() {
    const { ws, ...failed } = await open("/die");
    if (!ws) return failed;
    ws.send("now");
    return ws.closing;
  },

  async "backend gone with a reset"() {
    const { ws, ...failed } = await open("/reset");
    if (!ws) return failed;
    ws.send("now");
    return ws.closing;
  },
};
for (const status of [302, 401, 403, 404, 503]) {
  scenarios[`refused with ${status}`] = () => open(`/refuse?status=${status}`);
}

for (const [scenario, play] of Object.entries(scenarios)) {
  const late = new Promise((r) => setTimeout(r, 20_000, { error: "no end within 20 s" }).unref());
  console.log(JSON.stringify({ scenario, seen: await Promise.race([play(), late]) }));
}
process.exit(0);
