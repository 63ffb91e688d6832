// A plain WebSocket backend made of the ws package. It knows nothing of any
// sidecar. Prints {"port":N} once it listens. The path says what it does:
//
//   /echo               sends back what it gets
//   /headers            first message: the request as it came; then as /echo
//   /close              answers the first message by closing with ?code and ?reason
//   /ping               pings with ?payload, sends the pong's payload as text
//   /die, /reset        ends the socket at the first message, without a close frame
//   /refuse             answers the handshake with ?status, headers and a body
//   /closed?id=X        (plain HTTP) how the connection with ?id=X ended, as seen here
//
// ?deflate=1 offers permessage-deflate, ?protocol=P chooses a subprotocol.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { WebSocketServer } from "ws";

const closed = new Map(); // id → how it ended, for 1,000 connections at most
const waiting = new Map(); // id → the answer of a /closed that came early

function handleProtocols(offered, req) {
  const want = new URL(req.url, "http://x").searchParams.get("protocol");
  return want && offered.has(want) ? want : offered.values().next().value;
}

const plain = new WebSocketServer({ noServer: true, handleProtocols, perMessageDeflate: false });
const deflate = new WebSocketServer({ noServer: true, handleProtocols, perMessageDeflate: { threshold: 0 } });

const server = createServer((req, res) => {
  const url = new URL(req.url, "http://x");
  if (url.pathname === "/closed") return answerClosed(url.searchParams.get("id"), res);
  if (url.pathname === "/page.html" || url.pathname === "/page.js") {
    res.setHeader("Content-Type", url.pathname.endsWith("js") ? "text/javascript" : "text/html; charset=utf-8");
    return res.end(readFileSync(new URL("." + url.pathname, import.meta.url)));
  }
  res.statusCode = url.pathname === "/favicon.ico" ? 204 : 404;
  res.end();
});

function answerClosed(id, res) {
  if (closed.has(id)) return res.end(JSON.stringify(closed.get(id)));
  waiting.set(id, res);
}

function ended(id, how) {
  if (closed.size < 1000) closed.set(id, how);
  waiting.get(id)?.end(JSON.stringify(how));
  waiting.delete(id);
}

server.on("upgrade", (req, socket, head) => {
  const url = new URL(req.url, "http://x");
  if (url.pathname === "/refuse") return refuse(socket, url.searchParams.get("status"));
  const wss = url.searchParams.get("deflate") ? deflate : plain;
  wss.handleUpgrade(req, socket, head, (ws) => serve(ws, req, url));
});

function refuse(socket, status) {
  const body = `refused with ${status}, says the backend\n`;
  socket.end(
    `HTTP/1.1 ${status} From The Backend\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n` +
      `WWW-Authenticate: Bearer realm="backend"\r\nLocation: /login\r\nRetry-After: 7\r\n` +
      `Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Backend: yes\r\nConnection: close\r\n\r\n${body}`,
  );
}

function serve(ws, req, url) {
  const q = url.searchParams;
  ws.on("error", () => {});
  if (q.has("id")) ws.on("close", (code, reason) => ended(q.get("id"), { code, reason: reason.toString() }));
  const echo = (data, binary) => ws.send(data, { binary });
  switch (url.pathname) {
    case "/headers":
      ws.send(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, raw: req.rawHeaders }));
      return ws.on("message", echo);
    case "/close":
      return ws.on("message", () => ws.close(Number(q.get("code")) || undefined, q.get("reason") ?? undefined));
    case "/ping":
      ws.on("pong", (data) => ws.send(data.toString()));
      return ws.ping(q.get("payload"));
    case "/die":
      return ws.on("message", () => req.socket.destroy());
    case "/reset":
      return ws.on("message", () => req.socket.resetAndDestroy());
    default:
      return ws.on("message", echo);
  }
}

server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.resume().on("end", () => process.exit(0)); // do not outlive the test
