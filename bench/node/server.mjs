// The reference Engine.IO server, which echoes what it gets. Everything is as it
// is by default, but for what would end sessions that the benchmark holds.
//
//   node server.mjs <port>
import { createServer } from "node:http";
import { Server } from "engine.io";

const http = createServer({ keepAliveTimeout: 75_000 });
const engine = new Server({ pingInterval: 300_000 });
engine.attach(http);
engine.on("connection", (socket) => {
  socket.on("message", (data) => socket.send(data));
});
http.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
