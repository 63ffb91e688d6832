// One WebSocket whose messages are awaited one after the other.

// The address of a path on the page's own origin, for WebSockets.
export function address(path) {
  const url = new URL(path, location.origin);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

// A wire ends with its signal. closed is the CloseEvent that will end it.
export class Wire {
  #messages = [];
  #waiting = null;

  constructor(path, signal, protocols = []) {
    signal.throwIfAborted(); // an abort that is over would not be heard
    this.socket = new WebSocket(address(path), protocols);
    this.socket.binaryType = 'arraybuffer';
    this.closed = new Promise((done) => this.socket.addEventListener('close', done));
    this.closed.then((e) => this.#end(new Error(`closed with ${closeText(e)}`)));
    this.socket.addEventListener('message', (e) => this.#take(e.data));
    signal.addEventListener('abort', () => this.socket.close(1000, 'stopped'));
  }

  // open resolves to the wire, or fails with what the browser lets us know.
  open() {
    return new Promise((done, fail) => {
      this.socket.addEventListener('open', () => done(this));
      this.closed.then((e) => fail(new Error(`did not open: ${closeText(e)}`)));
    });
  }

  // next is the next message, text as a string and bytes as an ArrayBuffer.
  next() {
    if (this.#messages.length) return Promise.resolve(this.#messages.shift());
    if (this.ended) return Promise.reject(this.ended);
    return new Promise((done, fail) => { this.#waiting = { done, fail }; });
  }

  send(data) { this.socket.send(data); }

  #take(data) {
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

export function closeText(e) {
  return `${e.code}${e.reason ? ` “${e.reason}”` : ''}${e.wasClean ? '' : ' (not clean)'}`;
}

// want fails unless got is what was wanted.
export function want(what, got, wanted) {
  if (got !== wanted) throw new Error(`${what}: got ${JSON.stringify(got)}; want ${JSON.stringify(wanted)}`);
}

// readable makes bytes comparable.
export function readable(data) {
  return typeof data === 'string' ? data : `bytes ${new Uint8Array(data).join(' ')}`;
}

export function ms(since) {
  const took = performance.now() - since;
  return `${took < 10 ? took.toFixed(1) : Math.round(took)} ms`;
}
