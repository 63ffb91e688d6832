// The panel that runs the stock client of Engine.IO: vendor/engine.io.min.js is
// the file of the npm package engine.io-client 6.6.8, without its last line,
// which names a source map. It is loaded by index.html as window.eio.

import { ms, readable, want } from './wire.js';

// The ways to connect, as the client is asked for them.
const ways = {
  polling: { name: 'polling', transports: ['polling'] },
  websocket: { name: 'WebSocket', transports: ['websocket'] },
  upgrade: { name: 'polling, then WebSocket', transports: ['polling', 'websocket'] },
};

const tries = 10; // to connect again, a second apart

// A Session is one of the stock client. It ends with t's signal. closed resolves
// to why it ended.
class Session {
  #messages = [];
  #waiting = null;

  constructor(t, way, query = {}) {
    t.signal.throwIfAborted(); // an abort that is over would not be heard
    this.t = t;
    this.way = way;
    this.sent = this.received = 0;
    this.trip = '–';
    this.trail = [];
    this.socket = window.eio(location.origin, { transports: way.transports, query });
    this.socket.binaryType = 'arraybuffer';
    this.closed = new Promise((done) => this.socket.on('close', (reason, cause) => done(cause?.message ?? reason)));
    this.closed.then((why) => this.#end(new Error(`the session ended: ${why}`)));
    this.socket.on('message', (data) => this.#take(data));
    this.socket.on('upgrading', (to) => t.log(`upgrading to ${to.name}…`));
    this.upgraded = new Promise((done) => this.socket.on('upgrade', (to) => {
      t.log(`upgraded to ${to.name}`);
      this.#carried(to.name);
      done();
    }));
    t.signal.addEventListener('abort', () => this.socket.close());
  }

  // open resolves to the session, or fails with what the client says.
  async open() {
    const start = performance.now();
    await new Promise((done, fail) => {
      this.socket.on('open', done);
      this.socket.on('error', (e) => fail(new Error(`${this.way.name}: ${e.message}`)));
      this.closed.then((why) => fail(new Error(`${this.way.name}: ${why}`)));
    });
    this.t.log(`open by ${this.socket.transport.name} in ${ms(start)}`);
    this.#carried(this.socket.transport.name);
    return this;
  }

  send(data) {
    this.socket.send(data);
    this.sent++;
    this.#show();
  }

  // next is the next message, text as a string and bytes as an ArrayBuffer.
  next() {
    if (this.#messages.length) return Promise.resolve(this.#messages.shift());
    if (this.ended) return Promise.reject(this.ended);
    return new Promise((done, fail) => { this.#waiting = { done, fail }; });
  }

  async roundTrip(data, name) {
    const start = performance.now();
    this.send(data);
    want(name, readable(await this.next()), readable(data));
    this.trip = ms(start);
    this.#show();
    this.t.log(`${name} came back in ${this.trip} by ${this.socket.transport.name}`);
  }

  // burst sends count messages at once, which must come back in order.
  async burst(count) {
    const start = performance.now();
    for (let n = 1; n <= count; n++) this.send(`message ${n}`);
    for (let n = 1; n <= count; n++) want(`message ${n}`, await this.next(), `message ${n}`);
    this.t.log(`${count} messages came back in order in ${ms(start)} by ${this.socket.transport.name}`);
  }

  async end() {
    this.socket.close();
    await this.closed;
  }

  #carried(name) {
    this.trail.push(name);
    this.#show();
  }

  #show() {
    this.t.facts({ Transport: this.trail.join(' → ') || '–', Sent: this.sent, Received: this.received, 'Round trip': this.trip });
  }

  #take(data) {
    this.received++;
    this.#show();
    if (!this.#waiting) return this.#messages.push(data);
    const { done } = this.#waiting;
    this.#waiting = null;
    done(data);
  }

  #end(why) {
    this.ended = why;
    this.#waiting?.fail(why);
    this.#waiting = null;
  }
}

export async function engine(t) {
  for (const way of [ways.polling, ways.websocket]) {
    const session = await new Session(t, way).open();
    await session.roundTrip('grüße, мир ✓', 'text');
    await session.roundTrip(crypto.getRandomValues(new Uint8Array(1024)).buffer, '1024 bytes');
    await session.burst(100);
    want('transport', session.socket.transport.name, way.transports[0]);
    await session.end();
  }
  await ended(t);
  const session = await upgrades(t);
  t.pass('by polling, by WebSocket, and upgraded under way: all in order');
  await stay(t, session);
}

// upgrades sends numbered messages from before the upgrade until after it.
async function upgrades(t) {
  const session = await new Session(t, ways.upgrade).open();
  want('transport', session.socket.transport.name, 'polling');
  let over = false, n = 0;
  session.upgraded.then(() => { over = true; });
  do {
    n++;
    session.send(`message ${n}`);
    want(`message ${n}`, await session.next(), `message ${n}`);
  } while (!over);
  want('transport', session.socket.transport.name, 'websocket');
  t.log(`${n} messages came back in order while it upgraded`);
  await session.roundTrip(new Uint8Array([0, 30, 255]).buffer, '3 bytes');
  return session;
}

// ended has the backend end a session, which the client must be told.
async function ended(t) {
  const session = await new Session(t, ways.polling, { code: 4001, reason: 'goodbye' }).open();
  t.log(`the backend ended it: ${await session.closed}; connecting anew`);
}

// stay keeps a session until the panel is stopped, and connects anew when it has
// ended or another way was asked for.
async function stay(t, session) {
  while (!t.signal.aborted) {
    let way = session.way;
    let last = Promise.resolve(); // one at a time, or they would take each other's answers
    const later = (f) => (last = last.then(f));
    const by = (key) => () => { way = ways[key]; session.socket.close(); };
    t.act({
      text: (s) => later(() => session.roundTrip(s, `text “${s}”`)),
      burst: () => later(() => session.burst(100)),
      polling: by('polling'), websocket: by('websocket'), upgrade: by('upgrade'),
    });
    const why = await session.closed;
    if (t.signal.aborted) return;
    t.log(`closed: ${why}; connecting anew`);
    session = await again(t, way);
  }
}

async function again(t, way) {
  for (let left = tries; ; left--) {
    try {
      const session = await new Session(t, way).open();
      await session.roundTrip('hello again', 'text');
      return session;
    } catch (e) {
      if (t.signal.aborted || left <= 1) throw e;
      t.log(`${e.message}; trying again`);
      await Promise.race([t.stopped, new Promise((done) => setTimeout(done, 1000))]);
    }
  }
}
