// Stock Engine.IO clients that do what a test tells them, and tell it what they
// see. Commands and reports are JSON over the WebSocket given:
//
//   {"do":"open","n":1,"url":…,"options":{…}}   {"do":"close","n":1}
//   {"do":"send","n":1,"text":…} or {…,"bytes":base64}
//   {"n":1,"what":"message","text":…} or {…,"bytes":…}
//   {"n":1,"what":"open"|"upgrade"|"upgradeError"|"error"|"close",…}
export function obey(control, Socket) {
  const sockets = new Map();
  const todo = {
    open: ({ n, url, options }) => sockets.set(n, open(n, url, options)),
    send: ({ n, text, bytes }) => sockets.get(n).send(text ?? decode(bytes)),
    close: ({ n }) => sockets.get(n).close(),
  };
  control.onmessage = (e) => {
    const command = JSON.parse(e.data);
    todo[command.do](command);
  };

  function open(n, url, options) {
    const report = (what, more) => control.send(JSON.stringify({ n, what, transport: s.transport?.name, ...more }));
    const s = new Socket(url, options);
    s.binaryType = "arraybuffer";
    s.on("open", () => report("open"));
    s.on("upgrade", () => report("upgrade"));
    s.on("upgradeError", (e) => report("upgradeError", describe(e)));
    s.on("error", (e) => report("error", describe(e)));
    s.on("close", (reason, details) => report("close", { reason, ...describe(details) }));
    s.on("message", (m) => report("message", typeof m === "string" ? { text: m } : { bytes: encode(m) }));
    return s;
  }
}

// describe has what an application can learn from an error, or from the details of
// a close: a status and a body, or a close code.
function describe(e) {
  const request = e?.context?.status === undefined ? {} : { status: e.context.status, body: e.context.responseText };
  const closing = e?.context?.code === undefined ? {} : { code: e.context.code, why: String(e.context.reason ?? "") };
  const why = e?.description?.message === undefined ? {} : { why: e.description.message }; // of a WebSocket in Node
  const message = typeof e === "string" ? e : (e?.message ?? (typeof e?.description === "string" ? e.description : undefined));
  return { message, ...request, ...closing, ...why };
}

function encode(buffer) {
  const bytes = new Uint8Array(buffer);
  let s = "";
  for (let i = 0; i < bytes.length; i += 4096) s += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return btoa(s);
}

function decode(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer;
}
