// The panels that are about HTTP.

import { Wire, closeText, ms, want } from './wire.js';

const refusal = '/refuse?status=401';

// get is fetch, with an error that says what failed.
async function get(t, path) {
  try {
    return await fetch(path, { signal: t.signal, cache: 'no-store' });
  } catch (e) {
    throw new Error(`GET ${path}: no answer (${e.message})`);
  }
}

export async function refused(t) {
  const wire = new Wire(refusal, t.signal);
  const opened = await Promise.race([wire.open().then(() => true, () => false), wire.closed.then(() => false)]);
  want('whether the socket opened', opened, false);
  t.log(`the socket did not open: ${closeText(await wire.closed)}`);
  const answer = await get(t, refusal);
  const body = (await answer.text()).trim();
  t.log(`a plain request: ${answer.status} “${body}”`);
  want('status', answer.status, 401);
  want('body', body, 'refused with 401, as asked');
  return `${answer.status} “${body}”`;
}

export async function plain(t) {
  const answer = await get(t, '/api/hello');
  want('status', answer.status, 200);
  const hello = await answer.json();
  want('host the backend saw', hello.host, location.host);
  t.log(`GET /api/hello: “${hello.message}”, asked for as ${hello.host}`);
  return stream(t);
}

async function stream(t) {
  const answer = await get(t, '/api/stream');
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '', first = 0;
  for (let chunk; !(chunk = await reader.read()).done;) {
    first ||= performance.now();
    text += chunk.value;
    t.log(`GET /api/stream: ${chunk.value.trim()}`);
  }
  want('lines', text.trim().split('\n').length, 5);
  const over = performance.now() - first;
  if (over < 400) throw new Error(`all lines came within ${Math.round(over)} ms: somebody collected them`);
  return `five lines arrived one by one, over ${ms(first)}`;
}
