// What a browser's own WebSocket sees. window.results is set at the end.
const base = location.origin.replace(/^http/, "ws");

function open(path, protocols = []) {
  const ws = new WebSocket(base + path, protocols);
  ws.binaryType = "arraybuffer";
  ws.inbox = [];
  ws.onmessage = (e) => {
    ws.inbox.push(e.data);
    ws.dispatchEvent(new Event("inbox"));
  };
  ws.closing = new Promise((r) => (ws.onclose = (e) => r({ code: e.code, reason: e.reason, clean: e.wasClean })));
  return new Promise((resolve) => {
    ws.onopen = () => resolve({ ws });
    ws.onerror = () => ws.closing.then((closed) => resolve({ failed: closed }));
  });
}

async function next(ws) {
  while (ws.inbox.length === 0) await new Promise((r) => ws.addEventListener("inbox", r, { once: true }));
  return ws.inbox.shift();
}

async function hash(data) {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const h = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return typeof data + Array.from(h, (b) => b.toString(16).padStart(2, "0")).join("");
}

// One megabyte in all: text and binary in turn, random and so hard to compress.
async function megabyte(path) {
  const { ws, failed } = await open(path);
  if (!ws) return { failed };
  const sent = [];
  for (let i = 0; i < 32; i++) {
    const bytes = crypto.getRandomValues(new Uint8Array(32 << 10));
    sent.push(i % 2 ? bytes.buffer : Array.from(bytes, (b) => String.fromCodePoint(0x100 + b)).join(""));
  }
  for (const m of sent) ws.send(m);
  let same = 0;
  for (const m of sent) if ((await hash(await next(ws))) === (await hash(m))) same++;
  ws.close(1000, "done");
  return { sent: sent.length, same, extensions: ws.extensions, closed: await ws.closing };
}

async function asked(path, protocols) {
  const { ws, failed } = await open(path, protocols);
  if (!ws) return { failed };
  ws.send("now");
  return { protocol: ws.protocol, closed: await ws.closing };
}

async function backendSees(code, reason) {
  const id = crypto.randomUUID();
  const { ws, failed } = await open("/echo?id=" + id);
  if (!ws) return { failed };
  ws.close(code, reason);
  const closed = await ws.closing;
  return { closed, backend: await (await fetch("/closed?id=" + id)).json() };
}

const scenarios = {
  "plain": () => megabyte("/echo"),
  "with compression": () => megabyte("/echo?deflate=1"),
  "close by the backend": () => asked("/close?code=4321&reason=bye", ["first", "second"]),
  "close by the page": () => backendSees(4999, "see you"),
  "backend gone": () => asked("/die"),
  "refused": async () => { const { ws, failed } = await open("/refuse?status=401"); return { opened: !!ws, failed }; },
};

const results = {};
for (const [name, play] of Object.entries(scenarios)) {
  const late = new Promise((r) => setTimeout(r, 20_000, { error: "no end within 20 s" }));
  results[name] = await Promise.race([play(), late]);
}
document.querySelector("#out").textContent = JSON.stringify(results, null, 2);
window.results = results;
