// What the page shows. To show one transport more, add one panel here.
//
// A panel has an id, a title, one line about what it shows, and run(t). run
// fails by throwing; it has passed when it returns, or says so by t.pass(detail)
// and then stays live until t.signal aborts (t.stopped). t.log(text) adds a line
// to its log, t.facts({name: value}) shows what holds now. Its actions are buttons that call what run puts into t.act under
// their name, with what is typed above them, which begins as text.

import { Wire, closeText, ms, readable, want } from './wire.js';
import { engine } from './engine.js';
import { plain, refused } from './panels-http.js';

export const panels = [
  {
    id: 'echo',
    title: 'Raw WebSocket',
    about: 'Text and binary messages go to the backend and come back, with the time that took; then 100 at once. Start it to send your own.',
    text: 'Hello, backend',
    actions: [{ name: 'text', label: 'Send text' }, { name: 'bytes', label: 'Send bytes' }, { name: 'burst', label: 'Burst of 100' }],
    run: echo,
  },
  {
    id: 'engine',
    title: 'Engine.IO',
    about: 'The stock engine.io-client by polling, by WebSocket, and upgraded under way; the backend sees plain WebSockets. Start it to send your own, and to connect anew in any of the ways.',
    text: 'Hello, backend',
    actions: [
      { name: 'text', label: 'Send text' }, { name: 'burst', label: 'Burst of 100' },
      { name: 'polling', label: 'Polling' }, { name: 'websocket', label: 'WebSocket' }, { name: 'upgrade', label: 'Upgrade' },
    ],
    run: engine,
  },
  {
    id: 'ticker',
    title: 'Ticker',
    about: 'The backend speaks unasked, once a second. A gap or a batch would mean that something held it back.',
    run: ticker,
  },
  {
    id: 'chat',
    title: 'Chat',
    about: 'Two members of one room, each with a connection of its own, both on this page. Start it to speak for them.',
    text: 'Nice to meet you',
    actions: [{ name: 'ann', label: 'Say as Ann' }, { name: 'ben', label: 'Say as Ben' }],
    run: chat,
  },
  {
    id: 'compression',
    title: 'Compression',
    about: 'Browser and backend agree on permessage-deflate with each other; what lies between does not inflate it.',
    run: compression,
  },
  {
    id: 'close',
    title: 'Close codes',
    about: 'The code and reason of a close reach the other end: from the backend here, and from here to the backend.',
    run: closes,
  },
  {
    id: 'refused',
    title: 'Refused handshake',
    about: 'The backend refuses with 401. A page only learns that the socket did not open; a plain request sees status and body.',
    run: refused,
  },
  {
    id: 'http',
    title: 'Plain HTTP',
    about: 'Requests that are no WebSocket pass through too, and a streamed answer arrives line by line.',
    run: plain,
  },
];

async function echo(t) {
  const wire = await new Wire('/echo', t.signal, ['demo.v0', 'demo.v1']).open();
  t.log(`open, subprotocol ${wire.socket.protocol}`);
  want('subprotocol', wire.socket.protocol, 'demo.v1');
  const text = (s) => roundTrip(t, wire, s, `text “${s}”`);
  const bytes = (n) => roundTrip(t, wire, crypto.getRandomValues(new Uint8Array(n)).buffer, `${n} bytes`);
  const burst = () => sendMany(t, wire, 100);
  await text('grüße, мир ✓');
  await bytes(1024);
  t.pass(await burst());
  let last = Promise.resolve(); // one at a time, or they would take each other's answers
  const later = (f) => (last = last.then(f));
  t.act({ text: (s) => later(() => text(s)), bytes: () => later(() => bytes(1024)), burst: () => later(burst) });
  await t.live(wire);
}

async function roundTrip(t, wire, data, name) {
  const start = performance.now();
  wire.send(data);
  const got = await wire.next();
  const took = ms(start);
  want(name, readable(got), readable(data));
  t.log(`${name} came back in ${took}`);
}

async function sendMany(t, wire, count) {
  const start = performance.now();
  for (let n = 1; n <= count; n++) wire.send(`message ${n}`);
  for (let n = 1; n <= count; n++) want(`message ${n}`, await wire.next(), `message ${n}`);
  const line = `${count} messages came back in order in ${ms(start)}`;
  t.log(line);
  return line;
}

async function ticker(t) {
  const wire = await new Wire('/ticker', t.signal).open();
  for (let n = 1, before = 0; !t.signal.aborted; n++) {
    const tick = JSON.parse(await wire.next());
    want('tick', tick.n, n);
    if (n > 1 && performance.now() - before < 500) throw new Error(`tick ${n} came ${ms(before)} after the one before`);
    t.log(`tick ${tick.n}${n > 1 ? `, ${ms(before)} later` : ''}`);
    before = performance.now();
    if (n === 3) t.pass('three ticks, a second apart');
  }
}

async function chat(t) {
  const mark = crypto.getRandomValues(new Uint16Array(1))[0].toString(36);
  const names = [`Ann ${mark}`, `Ben ${mark}`];
  const [ann, ben] = [await enter(t, names[0]), await enter(t, names[1])];
  ann.send('hello, Ben');
  await heard(t, ben, names[0], 'hello, Ben');
  ben.send('hello, Ann');
  await heard(t, ann, names[1], 'hello, Ann');
  await hear(ben, names[1]); // the room tells its speaker too; once in the log is enough
  t.pass('both heard each other');
  t.act({ ann: (s) => ann.send(s), ben: (s) => ben.send(s) });
  // From here on Ben does the listening for both.
  await Promise.race([t.stopped, listen(t, ben), drain(ann)]);
}

async function enter(t, name) {
  const wire = await new Wire(`/chat?name=${encodeURIComponent(name)}`, t.signal).open();
  for (;;) {
    const e = JSON.parse(await wire.next());
    if (e.type !== 'join' || e.name !== name) continue;
    t.log(`${name} joined, ${e.members} in the room`);
    return wire;
  }
}

async function heard(t, wire, name, text) {
  const got = await hear(wire, name);
  want(`what ${name} said`, got, text);
  t.log(`${name}: ${got}`);
}

// hear is the next text of a member; others may be in the room.
async function hear(wire, name) {
  for (;;) {
    const e = JSON.parse(await wire.next());
    if (e.type === 'message' && e.name === name) return e.text;
  }
}

async function listen(t, wire) {
  for (;;) {
    const e = JSON.parse(await wire.next());
    t.log(e.type === 'message' ? `${e.name}: ${e.text}` : `${e.name}: ${e.type}, ${e.members} in the room`);
  }
}

async function drain(wire) {
  for (;;) await wire.next();
}

async function compression(t) {
  const wire = await new Wire('/echo', t.signal).open();
  const agreed = wire.socket.extensions;
  t.log(`ws.extensions is “${agreed}”`);
  if (!agreed.startsWith('permessage-deflate')) throw new Error('permessage-deflate was not agreed');
  const text = 'again and '.repeat(20000);
  const start = performance.now();
  wire.send(text);
  want('the text', await wire.next() === text, true);
  t.log(`${text.length.toLocaleString('en')} characters came back in ${ms(start)}`);
  wire.socket.close(1000);
  return agreed;
}

async function closes(t) {
  const down = await new Wire('/close?code=4001&reason=goodbye', t.signal).closed;
  t.log(`the backend closed with ${closeText(down)}`);
  want('its close', closeText(down), '4001 “goodbye”');
  const wire = await new Wire('/close', t.signal).open();
  wire.socket.close(4002, 'farewell');
  const up = await wire.closed;
  t.log(`we closed with 4002 “farewell”, it answered ${closeText(up)}`);
  want('its answer', closeText(up), '4002 “heard farewell”');
  return `${closeText(down)} from the backend, 4002 “farewell” to it`;
}
