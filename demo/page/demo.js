// The machinery of the page: it builds the panels, runs them and tells what came
// of it. window.demoRun() runs all; window.demoResults is then a promise of
// {passed, failed, panels: [{id, status, detail}]}. With ?run in the address
// that begins at once. Each panel's element has data-status: idle, running, ok
// or failed. All text goes in by textContent.

import { panels } from './panels.js';

const verdictWithin = 15000; // milliseconds
const logLines = 50;

const labels = { idle: 'Idle', running: 'Running', ok: 'OK', failed: 'Failed' };

function make(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === 'text') node.textContent = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

class Panel {
  #stop = null; // ends the run that is under way

  constructor(spec) {
    this.spec = spec;
    const title = make('h2', { id: `${spec.id}-title`, text: spec.title });
    this.pill = make('span', { class: 'pill', role: 'status' });
    this.toggle = make('button', { type: 'button', 'aria-describedby': title.id });
    this.detail = make('p', { class: 'detail' });
    this.facts = make('dl', { class: 'facts', hidden: '' });
    this.log = make('ol', { class: 'log', tabindex: 0, role: 'log', 'aria-live': 'off', 'aria-label': `${spec.title}: last events` });
    this.form = this.#controls();
    this.node = make('section', { class: 'panel', id: spec.id, 'aria-labelledby': title.id },
      make('div', { class: 'top' }, title, this.pill, this.toggle),
      make('p', { class: 'about', text: spec.about }), ...this.form, this.facts, this.detail, this.log);
    this.toggle.addEventListener('click', () => (this.#stop ? this.stop() : this.start()));
    this.#status('idle', 'Not run yet.');
    this.#live(false);
  }

  // controls are an input and the buttons of the actions, where there are any.
  #controls() {
    this.buttons = (this.spec.actions ?? []).map((a) => make('button', { type: 'button', name: a.name, text: a.label }));
    if (!this.buttons.length) return [];
    this.input = make('input', { value: this.spec.text, maxlength: 200, 'aria-label': `${this.spec.title}: text to send`, autocomplete: 'off' });
    const form = make('form', {}, this.input, ...this.buttons);
    form.addEventListener('submit', (e) => { e.preventDefault(); this.buttons[0].click(); });
    return [form];
  }

  #status(status, detail) {
    this.node.dataset.status = status;
    this.detail.textContent = detail;
    this.#label();
  }

  #live(yes) {
    this.node.dataset.live = yes ? 'yes' : 'no';
    this.toggle.textContent = yes ? 'Stop' : 'Start';
    if (!yes) this.#acts({});
    this.#label();
  }

  #label() {
    const { status, live } = this.node.dataset;
    const text = labels[status] + (live === 'yes' && status !== 'running' ? ' · live' : '');
    if (this.pill.textContent !== text) this.pill.textContent = text;
  }

  // acts enables the buttons that have something to do.
  #acts(acts) {
    for (const b of this.buttons) {
      const act = acts[b.name];
      b.disabled = !act;
      b.onclick = act ? () => Promise.resolve(act(this.input.value)).catch((e) => this.say(e.message, true)) : null;
    }
  }

  // hold shows what holds now.
  hold(facts) {
    this.facts.hidden = false;
    this.facts.replaceChildren(...Object.entries(facts).map(([name, value]) => make('div', {},
      make('dt', { text: name }), make('dd', { text: value }))));
  }

  // say adds a line to the log, and forgets the oldest.
  say(text, bad = false) {
    const now = new Date();
    const time = make('time', { datetime: now.toISOString(), text: now.toTimeString().slice(0, 8) });
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    this.log.append(make('li', bad ? { class: 'bad' } : {}, time, make('span', { text })));
    while (this.log.children.length > logLines) this.log.firstChild.remove();
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  stop() { this.#stop?.abort(); }

  // start runs the panel and resolves to its verdict; it may stay live after that.
  start() {
    this.stop();
    const stop = new AbortController();
    this.#stop = stop;
    this.#status('running', 'Checking…');
    this.#live(true);
    return new Promise((done) => this.#run(stop, this.#judge(stop, done)));
  }

  // judge makes the function that takes the verdict of one run. The first counts;
  // a run that was started anew no longer shows what became of it.
  #judge(stop, done) {
    let settled = false;
    const judge = (status, detail) => {
      if (status === 'failed') this.say(detail, true);
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      if (this.#stop === stop) this.#status(status, detail);
      done({ id: this.spec.id, status, detail });
    };
    const timer = setTimeout(() => {
      judge('failed', `no verdict within ${verdictWithin / 1000} s`);
      stop.abort();
    }, verdictWithin);
    return judge;
  }

  // run ends with everything of it ended. What fails after a stop, fails by it.
  async #run(stop, judge) {
    try {
      const detail = await this.spec.run(this.#tools(stop.signal, judge));
      if (stop.signal.aborted) judge('idle', 'Stopped before its verdict.');
      else judge('ok', detail ?? '');
    } catch (e) {
      if (stop.signal.aborted) judge('idle', 'Stopped before its verdict.');
      else judge('failed', e.message);
    }
    stop.abort();
    if (this.#stop !== stop) return;
    this.#stop = null;
    this.#live(false);
  }

  // tools are what a panel's run gets.
  #tools(signal, judge) {
    const stopped = new Promise((done) => signal.addEventListener('abort', done));
    return {
      signal,
      stopped,
      log: (text) => this.say(text),
      facts: (facts) => this.hold(facts),
      pass: (detail) => judge('ok', detail),
      act: (acts) => { if (!signal.aborted) this.#acts(acts); },
      live: (wire) => Promise.race([stopped, wire.closed.then(() => { throw wire.ended; })]),
    };
  }
}

const shown = panels.map((spec) => new Panel(spec));
const button = document.getElementById('run-all');
const summary = document.getElementById('summary');
const progress = document.getElementById('progress');

// runAll runs one panel after the other, and leaves none live. The button is not
// disabled meanwhile: that would take the focus from whoever uses the keyboard.
async function runAll() {
  button.setAttribute('aria-disabled', 'true');
  summary.removeAttribute('data-status');
  const results = [];
  for (const panel of shown) {
    summary.textContent = `Running ${results.length + 1} of ${shown.length}: ${panel.spec.title}`;
    results.push(await panel.start());
    panel.stop();
    progress.style.width = `${100 * results.length / shown.length}%`;
  }
  const failed = results.filter((r) => r.status !== 'ok').length;
  summary.textContent = `${results.length - failed} passed, ${failed} failed`;
  summary.dataset.status = failed ? 'failed' : 'ok';
  button.removeAttribute('aria-disabled');
  return { passed: results.length - failed, failed, panels: results };
}

window.demoRun = () => (window.demoResults = runAll());
button.addEventListener('click', () => { if (!button.hasAttribute('aria-disabled')) window.demoRun(); });
document.getElementById('way').textContent = `browser → ${location.host} → backend`;
document.getElementById('panels').append(...shown.map((p) => p.node));
if (new URLSearchParams(location.search).has('run')) window.demoRun();
