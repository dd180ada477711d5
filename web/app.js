/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The playground: two users, each on a WebSocket or an SSE stream, and a log of every frame between them and the
 * gateway. It uses only the public calls. All text from outside is set through textContent, never as markup.
 */

const API = '/api/v1/websocket';
const KEEP_FRAMES = 400;
const KEEP_BUBBLES = 200;
const KEEP_BYTES = 64 * 1024; /* of one frame in the log */

/* Close codes after which the page reconnects (docs/errors.md); after any other the user decides. */
const COME_BACK = new Set([1001, 1006, 1011, 1012, 1013, 4408, 4429]);

const CLOSE_NAMES = {
  1000: 'normal', 1001: 'server going away', 1002: 'protocol error', 1003: 'unacceptable data', 1006: 'connection lost',
  1007: 'bad data', 1008: 'policy', 1009: 'message too big', 1011: 'server fault', 1012: 'server restarts',
  1013: 'reader too slow', 4400: 'bad request', 4401: 'not authenticated', 4403: 'not allowed',
  4408: 'heartbeat timeout', 4409: 'replaced by another device', 4410: 'kicked', 4429: 'too many',
};

const $ = (selector, root = document) => root.querySelector(selector);

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className)
    node.className = className;
  if (text !== undefined)
    node.textContent = text;
  return node;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const two = (n) => String(n).padStart(2, '0');

function clock(date, withMs) {
  const text = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return withMs ? `${text}.${String(date.getMilliseconds()).padStart(3, '0')}` : text;
}

function duration(seconds) {
  if (seconds < 60)
    return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600)
    return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400)
    return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} m`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

/* fetch() takes header values as Latin-1 characters; an id is UTF-8, so each byte becomes one character. */
function headerBytes(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

let lastId = 0;
const freshId = () => `pg-${Date.now().toString(36)}-${(++lastId).toString(36)}`;

/* ---- the wire: every frame, as it was sent or received ---- */

const wire = {
  list: $('#frames'),
  held: false,

  /* side: left, right or http; direction: up (to the gateway) or down; kind: a word for the middle column */
  add({ side, who, direction, kind, text, bad }) {
    if (this.held)
      return;
    const atEnd = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 24;
    const row = make('li', 'frame');
    row.dataset.side = side;
    row.dataset.direction = direction;
    row.classList.toggle('bad', Boolean(bad));

    const size = new TextEncoder().encode(text).length;
    const head = make('button');
    head.type = 'button';
    head.setAttribute('aria-expanded', 'false');
    const arrow = make('span', 'arrow', direction === 'up' ? '↑' : '↓');
    arrow.setAttribute('aria-label', direction === 'up' ? 'sent' : 'received');
    arrow.setAttribute('role', 'img');
    head.append(make('time', '', clock(new Date(), true)), arrow, make('span', 'who', who), make('span', 'kind', kind),
      make('code', 'line', text.length > 400 ? `${text.slice(0, 400)}…` : text), make('span', 'size', `${size} B`));
    head.addEventListener('click', () => this.toggle(row, head, text, size));
    row.append(head);
    this.list.append(row);
    while (this.list.childElementCount > KEEP_FRAMES)
      this.list.firstElementChild.remove();
    if (atEnd)
      this.list.scrollTop = this.list.scrollHeight;
  },

  toggle(row, head, text, size) {
    const open = head.getAttribute('aria-expanded') === 'true';
    head.setAttribute('aria-expanded', String(!open));
    if (open) {
      row.lastElementChild.remove();
      return;
    }
    const box = make('pre');
    box.append(...pretty(text.slice(0, KEEP_BYTES)));
    if (text.length > KEEP_BYTES)
      box.append(`\n… the first ${KEEP_BYTES} of ${size} bytes`);
    row.append(box);
    box.scrollIntoView({ block: 'nearest' });
  },
};

/* Indents JSON from its own tokens, because parsing and printing it again could change the digits of numbers. */
function pretty(text) {
  if (typeof parse(text) !== 'object')
    return [text];
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  const out = [];
  let depth = 0;
  const newline = () => out.push(`\n${'  '.repeat(depth)}`);

  tokens.forEach((token, i) => {
    const next = tokens[i + 1];
    if (token === '{' || token === '[') {
      out.push(token);
      depth++;
      if (next !== '}' && next !== ']')
        newline();
    } else if (token === '}' || token === ']') {
      depth--;
      if (tokens[i - 1] !== '{' && tokens[i - 1] !== '[')
        newline();
      out.push(token);
    } else if (token === ',') {
      out.push(token);
      newline();
    } else if (token === ':') {
      out.push(': ');
    } else {
      out.push(make('span', next === ':' ? 'key' : token[0] === '"' ? 'string' : 'atom', token));
    }
  });
  return out;
}

/* ---- calls over HTTP ---- */

async function post(side, who, path, userId, body) {
  const headers = { 'Content-Type': 'application/json' };
  if (userId)
    headers['X-User-ID'] = headerBytes(userId);
  wire.add({ side, who, direction: 'up', kind: `POST ${path}`, text: body });
  try {
    const answer = await fetch(API + path, { method: 'POST', headers, body });
    const text = await answer.text();
    wire.add({ side, who, direction: 'down', kind: `HTTP ${answer.status}`, text, bad: !answer.ok });
    return parse(text) ?? { success: false, error: `HTTP ${answer.status}` };
  } catch (error) {
    wire.add({ side, who, direction: 'down', kind: 'no answer', text: String(error), bad: true });
    return { success: false, error: 'the gateway does not answer' };
  }
}

/* ---- transports: each calls opened(), frame(kind, text, message) and, once, ended({ code, reason, comeBack }) ---- */

function openSocket(userId, on) {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  /* With wsc.v1 a refusal arrives as a close code; without it a browser does not see the reason. */
  const socket = new WebSocket(`${scheme}//${location.host}/ws?user_id=${encodeURIComponent(userId)}`, ['wsc.v1']);

  socket.addEventListener('open', () => on.opened());
  socket.addEventListener('message', (event) => {
    const message = parse(event.data);
    on.frame(message?.type ?? 'text', event.data, message);
  });
  socket.addEventListener('close', (event) => {
    const reason = event.reason || CLOSE_NAMES[event.code] || 'closed';
    on.ended({ code: event.code, reason, comeBack: COME_BACK.has(event.code) });
  });
  return { send: (text) => socket.send(text), close: () => socket.close(1000) };
}

/* EventSource would hide the status, comments and retry, so the stream is read by hand (WHATWG HTML, 9.2.6). */
function openStream(userId, on) {
  const abort = new AbortController();
  let closed; /* the data of the gateway's last event, type closed */

  function block(lines) {
    const data = lines.filter((l) => l.startsWith('data:')).map((l) => l.slice(5).replace(/^ /, '')).join('\n');
    const rest = lines.filter((l) => !l.startsWith('data:'));
    if (rest.length)
      on.note(rest.every((l) => l.startsWith(':')) ? 'comment' : rest[0].split(':')[0], rest.join('\n'));
    if (!data)
      return;
    const message = parse(data);
    if (message?.type === 'closed')
      closed = message.data;
    on.frame(message?.type ?? 'data', data, message);
  }

  async function run() {
    const answer = await fetch(`/sse?user_id=${encodeURIComponent(userId)}`,
      { headers: { Accept: 'text/event-stream' }, cache: 'no-store', signal: abort.signal });
    if (answer.status !== 200) {
      const text = await answer.text();
      on.note(`HTTP ${answer.status}`, text || '(no body)', answer.status !== 204);
      const reason = answer.status === 204 ? 'replaced by another device' : parse(text)?.error ?? 'refused';
      return { code: answer.status, reason, comeBack: answer.status === 503 || answer.status === 429 };
    }
    on.opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let waiting = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done)
        break;
      const blocks = (waiting + value).split(/\n\n/);
      waiting = blocks.pop();
      blocks.forEach((b) => block(b.split('\n').filter(Boolean)));
    }
    if (closed)
      return { code: closed.code, reason: closed.reason, comeBack: closed.reconnect !== false };
    return { code: 0, reason: 'stream ended', comeBack: true };
  }

  run().catch(() => ({ code: 0, reason: 'connection lost', comeBack: true }))
    .then((end) => on.ended(end));
  return { close: () => abort.abort() };
}

/* ---- one user ---- */

class User {
  constructor(side, name, other) {
    this.side = side;
    this.root = $('#user').content.firstElementChild.cloneNode(true);
    this.root.dataset.side = side;
    this.name = $('[name=user]', this.root);
    this.to = $('[name=to]', this.root);
    this.raw = $('[name=raw]', this.root);
    this.content = $('[name=content]', this.root);
    this.chat = $('.chat', this.root);
    this.connectButton = $('.connect', this.root);
    this.pingButton = $('.ping', this.root);
    this.stateText = $('.state span', this.root);
    this.bubbles = new Map(); /* id of a sent message → its note in the chat */
    this.tries = 0;

    for (const radio of this.root.querySelectorAll('.transport input')) {
      radio.name = `transport-${side}`;
      radio.addEventListener('change', () => this.transportChanged());
    }
    this.name.value = name;
    this.to.value = other;
    this.name.addEventListener('input', () => this.rename());
    this.connectButton.addEventListener('click', () => (this.busy ? this.leave() : this.join()));
    this.pingButton.addEventListener('click', () => this.ping());
    this.raw.addEventListener('change', () => this.rawChanged());
    this.content.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.submit();
      }
    });
    $('.composer', this.root).addEventListener('submit', (event) => {
      event.preventDefault();
      this.submit();
    });
    this.rename();
    this.show('off', 'not connected');
    $('#users').append(this.root);
  }

  get id() {
    return this.name.value;
  }

  /* Connected, connecting, or waiting to reconnect. */
  get busy() {
    return this.state === 'on' || this.state === 'connecting' || this.state === 'waiting';
  }

  get transport() {
    return $('.transport input:checked', this.root).value;
  }

  rename() {
    const id = this.id || '?';
    $('.avatar', this.root).textContent = [...id][0];
    this.root.setAttribute('aria-label', `User ${id}`);
    this.chat.setAttribute('aria-label', `Messages of ${id}`);
    nameChanged();
  }

  transportChanged() {
    if (this.busy) {
      this.leave();
      this.join();
    }
    this.hints();
  }

  hints() {
    const sse = this.transport === 'sse';
    this.pingButton.hidden = sse;
    this.pingButton.disabled = this.state !== 'on';
    this.content.placeholder = this.raw.checked ? '{"to":"carol","content":"hello"}'
      : sse ? 'Message, sent by POST' : 'Message';
  }

  show(state, text) {
    this.state = state;
    this.root.dataset.state = state;
    this.stateText.textContent = text;
    this.stateText.title = text;
    this.connectButton.textContent = this.busy ? 'Disconnect' : 'Connect';
    this.connectButton.classList.toggle('solid', !this.busy);
    this.name.readOnly = this.busy;
    this.hints();
    nameChanged();
    if (state === 'on')
      askOnline().catch(() => {}); /* poll() shows when the gateway does not answer */
  }

  join() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.show('connecting', 'connecting…');
    const link = {}; /* events of an older link are dropped, because this.link is then another one */
    const mine = (act) => (...args) => (this.link === link ? act(...args) : undefined);
    const on = {
      opened: mine(() => this.opened()),
      frame: mine((kind, text, message) => this.received(kind, text, message)),
      note: mine((kind, text, bad) => wire.add({ side: this.side, who: this.id, direction: 'down', kind, text, bad })),
      ended: mine((end) => this.ended(end)),
    };
    this.link = link;
    Object.assign(link, this.transport === 'ws' ? openSocket(this.id, on) : openStream(this.id, on));
  }

  leave() {
    clearTimeout(this.timer);
    this.timer = 0;
    const link = this.link;
    this.link = undefined;
    link?.close();
    this.tries = 0;
    this.show('off', 'not connected');
    if (link)
      this.line('you disconnected');
  }

  opened() {
    this.tries = 0;
    this.show('on', 'connected');
    this.line(`connected as ${this.id} over ${this.transport === 'ws' ? 'WebSocket' : 'SSE'}`);
  }

  ended({ code, reason, comeBack }) {
    const what = code ? `${code} ${reason}` : reason;
    this.link = undefined;
    this.bubbles.clear();
    wire.add({ side: this.side, who: this.id, direction: 'down', kind: 'closed', text: what, bad: code !== 1000 });
    this.line(what, code !== 1000);
    if (!comeBack) {
      this.show('stopped', what);
      return;
    }
    /* Full jitter, so that many pages that lost their connection together do not reconnect together. */
    const ceiling = Math.min(15, 0.5 * 2 ** this.tries++) * (code === 4429 || code === 429 ? 4 : 1);
    const seconds = 0.3 + Math.random() * ceiling;
    this.show('waiting', `reconnecting in ${seconds.toFixed(1)} s`); /* the chat says why */
    this.timer = setTimeout(() => this.join(), seconds * 1000);
  }

  received(kind, text, message) {
    const bad = kind === 'error' || kind === 'closed' || kind === 'gap';
    wire.add({ side: this.side, who: this.id, direction: 'down', kind, text, bad });
    if (kind === 'pong' || text === 'pong') {
      if (this.pinged)
        this.show('on', `pong in ${(performance.now() - this.pinged).toFixed(1)} ms`);
      this.pinged = 0;
    } else if (kind === 'error') {
      this.failed(message.data?.ref, message.content, message.data?.code);
    } else if (kind === 'receipt') {
      this.mark(message.data?.ref, message.data?.status ?? 'receipt');
    } else if (kind === 'connected' || kind === 'closed') {
      /* the state line shows it */
    } else if (message && typeof message === 'object') {
      this.bubble(message);
    }
  }

  bubble(message) {
    const content = message.content ?? JSON.stringify(message.data ?? message);
    if (!message.to && !message.ticket_id && message.from) {
      const item = this.line('');
      item.className = 'all';
      item.append(make('b', '', message.from), ` ${content}`);
      return;
    }
    if (message.from === 'system') {
      this.line(content, message.type === 'gap');
      return;
    }
    const item = this.item('theirs');
    const from = make('small');
    from.append(make('b', '', message.from ?? '?'), ` ${clock(new Date())}`);
    item.append(from, make('p', '', content));
    this.settle();
  }

  item(className) {
    const item = make('div', className);
    this.follow = this.chat.scrollHeight - this.chat.scrollTop - this.chat.clientHeight < 48;
    this.chat.append(item);
    while (this.chat.childElementCount > KEEP_BUBBLES)
      this.chat.firstElementChild.remove();
    return item;
  }

  settle() {
    if (this.follow)
      this.chat.scrollTop = this.chat.scrollHeight;
  }

  line(text, bad) {
    const item = this.item(bad ? 'line bad' : 'line');
    item.textContent = text;
    this.settle();
    return item;
  }

  mark(ref, text, bad) {
    const note = this.bubbles.get(ref);
    if (!note)
      return false;
    note.textContent = text;
    note.parentElement.classList.toggle('bad', Boolean(bad));
    this.settle();
    return true;
  }

  failed(ref, text, code) {
    const what = code ? `${text} · ${code}` : text;
    if (!this.mark(ref, what, true))
      this.line(what, true);
  }

  ping() {
    this.pinged = performance.now();
    this.put('{"type":"ping"}', 'ping');
  }

  put(text, kind) {
    wire.add({ side: this.side, who: this.id, direction: 'up', kind, text });
    this.link.send(text);
  }

  rawChanged() {
    $('.to', this.root).hidden = this.raw.checked;
    $('.asis', this.root).hidden = !this.raw.checked;
    const typed = this.content.value;
    if (this.raw.checked)
      this.content.value = JSON.stringify({ to: this.to.value, type: 'text', content: typed || 'hello' });
    else
      this.content.value = parse(typed)?.content ?? '';
    this.hints();
    this.content.focus();
  }

  async submit() {
    const typed = this.content.value;
    if (!typed.trim())
      return;
    if (this.transport === 'ws' && this.state !== 'on') {
      this.line('connect first: a WebSocket user sends on its own connection', true);
      return;
    }
    const own = { id: freshId(), to: this.to.value, type: 'text', content: typed };
    const text = this.raw.checked ? typed : JSON.stringify(own);
    const seen = this.raw.checked ? parse(typed) : own;
    if (!this.raw.checked)
      this.content.value = '';

    const item = this.item('mine');
    const note = make('small', '', `${clock(new Date())} · to ${seen?.to || 'nobody'}`);
    item.append(make('p', '', seen?.content ?? typed), note);
    this.follow = true;
    this.settle();
    const ref = seen?.id ?? freshId();
    this.bubbles.set(ref, note);

    if (this.transport === 'ws') {
      this.put(text, seen?.type ?? 'frame');
      return;
    }
    const answer = await post(this.side, this.id, '/send', this.id, text);
    if (answer.success)
      this.mark(ref, `${clock(new Date())} · ${answer.data.status} to ${devices(answer.data.delivered_count)}`);
    else
      this.failed(ref, answer.error, answer.code);
  }
}

const devices = (n) => `${n} ${n === 1 ? 'device' : 'devices'}`;

/* ---- statistics and the online list, requested while the page is visible ---- */

const SPARK = 60; /* samples */

class Tile {
  constructor(key) {
    this.value = $(`[data-stat=${key}]`);
    this.svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    this.path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    this.svg.setAttribute('viewBox', `0 0 ${SPARK - 1} 20`);
    this.svg.setAttribute('preserveAspectRatio', 'none');
    this.svg.setAttribute('aria-hidden', 'true');
    this.svg.append(this.path);
    this.value.parentElement.append(this.svg);
  }

  set(text, sample) {
    if (this.value.textContent !== text) {
      this.value.textContent = text;
      this.value.parentElement.classList.remove('moved');
      void this.value.offsetWidth; /* restarts the animation */
      this.value.parentElement.classList.add('moved');
    }
    this.samples = [...(this.samples ?? Array(SPARK).fill(sample)), sample].slice(-SPARK);
    const top = Math.max(1, ...this.samples);
    const points = this.samples.map((v, i) => `${i},${(18.5 - (v / top) * 16).toFixed(2)}`);
    this.path.setAttribute('d', `M${points.join('L')}`);
  }
}

const tiles = {};
for (const key of ['active_connections', 'online_users', 'messages_received', 'messages_sent', 'broadcasts'])
  tiles[key] = new Tile(key);
const sub = (key, text) => { $(`[data-sub=${key}]`).textContent = text; };
const number = (n) => Number(n ?? 0).toLocaleString('en');

let before; /* the previous answer, for rates */

function showStats(data) {
  const now = performance.now();
  const rate = (key) => (before ? Math.max(0, (data[key] - before.data[key]) / ((now - before.now) / 1000)) : 0);
  const perSecond = (n) => (n >= 10 ? `${number(Math.round(n))} / s` : `${n.toFixed(1)} / s`);
  const received = rate('messages_received');
  const sent = rate('messages_sent');
  const byType = data.connections_by_type ?? {};

  tiles.active_connections.set(number(data.active_connections), data.active_connections);
  tiles.online_users.set(number(data.online_users), data.online_users);
  tiles.messages_received.set(number(data.messages_received), received);
  tiles.messages_sent.set(number(data.messages_sent), sent);
  tiles.broadcasts.set(number(data.broadcasts), rate('broadcasts'));
  $('[data-stat=uptime]').textContent = duration(data.uptime_seconds);
  sub('transports', `${number(byType.websocket)} WS · ${number(byType.sse)} SSE`);
  sub('lifetime', `${number(data.total_lifetime)} connections so far`);
  sub('received', perSecond(received));
  sub('sent', perSecond(sent));
  sub('broadcasts', 'since the start');
  sub('node', data.node_id);
  before = { data, now };
}

function since(date) {
  const seconds = (Date.now() - Date.parse(date)) / 1000;
  return Number.isFinite(seconds) ? duration(seconds) : '–';
}

function onlineRow(user) {
  const row = make('li');
  row.dataset.side = user.user_id === left.id ? 'left' : user.user_id === right.id ? 'right' : '';
  const text = make('span', 'text');
  const many = user.connections > 1 ? `${devices(user.connections)} · ` : '';
  const small = make('small', '', `${user.user_type} · ${many}${since(user.connected_at)}`);
  text.append(make('b', '', user.user_id), small);
  const tag = make('span', 'tag', user.type === 'sse' ? 'SSE' : 'WS');
  row.append(make('span', 'avatar', [...user.user_id][0]), text, tag);
  return row;
}

function showOnline(data) {
  const shown = data.users.filter((user) => user.status !== 'offline');
  $('#online-total').textContent = number(data.total);
  $('#online').replaceChildren(...shown.map(onlineRow));
  $('#online-note').textContent = shown.length === 0 ? 'Nobody is connected.'
    : data.total > shown.length ? `and ${number(data.total - shown.length)} more` : '';
  $('#known').replaceChildren(...shown.map((user) => {
    const option = make('option');
    option.value = user.user_id;
    return option;
  }));
}

/* @trouble: a sentence, or '' when all is well. */
function reachable(trouble, state) {
  $('#node-dot').className = trouble ? 'dot bad' : 'dot good';
  $('#node-text').textContent = trouble ? state : location.host;
  $('#outage').hidden = !trouble;
  $('#outage').textContent = trouble && `${trouble} Trying again every second.`;
}

class Refused extends Error {
  constructor(path, status, error) {
    super(`The gateway refuses ${path}: ${status}, ${error}.`
      + (status === 404 ? ' This page knows only the default paths; here paths.* has moved them.' : ''));
  }
}

async function ask(path, show) {
  const answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(4000) });
  const body = await answer.json();
  if (!body.success)
    throw new Refused(path, answer.status, body.error);
  show(body.data);
}

const askOnline = () => ask(`${API}/online?limit=50`, showOnline);

async function poll() {
  if (!document.hidden) {
    try {
      await Promise.all([ask('/wsc/stats', showStats), askOnline()]);
      reachable('');
    } catch (error) {
      if (error instanceof Refused)
        reachable(error.message, 'refused');
      else
        reachable(`The gateway at ${location.host} does not answer (${error.message}).`, 'no answer');
    }
  }
  setTimeout(poll, 1000);
}

/* ---- the page ---- */

let left;
let right;

function nameChanged() {
  if (!left || !right)
    return;
  const as = $('[name=as]', $('#broadcast'));
  const chosen = as.selectedIndex;
  as.replaceChildren(...['system', left.id, right.id].map((id, i) => {
    const option = make('option', '', id);
    option.value = i === 0 ? '' : id;
    return option;
  }));
  as.selectedIndex = Math.max(0, chosen);
  const names = $('#filter').querySelectorAll('span');
  names[1].textContent = left.id || '?';
  names[2].textContent = right.id || '?';
  const all = [left, right].every((user) => user.busy);
  $('#both').textContent = all ? 'Disconnect both' : 'Connect both';
  $('#both').classList.toggle('solid', !all);
}

left = new User('left', 'alice', 'bob');
right = new User('right', 'bob', 'alice');
nameChanged();

$('#both').addEventListener('click', () => {
  const all = [left, right].every((user) => user.busy);
  for (const user of [left, right]) {
    if (all)
      user.leave();
    else if (user.state !== 'on' && user.state !== 'connecting')
      user.join();
  }
});

const broadcast = $('#broadcast');
broadcast.addEventListener('submit', async (event) => {
  event.preventDefault();
  const content = broadcast.elements.content;
  const outcome = $('.outcome', broadcast);
  const body = JSON.stringify({ content: content.value, type: 'notice' });
  const answer = await post('http', 'http', '/broadcast', broadcast.elements.as.value, body);
  outcome.classList.toggle('bad', !answer.success);
  outcome.textContent = answer.success ? `delivered to ${devices(answer.data.delivered_count)}` : answer.error;
  if (answer.success)
    content.value = '';
});
broadcast.elements.content.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    broadcast.requestSubmit();
  }
});

$('#filter').addEventListener('change', (event) => { wire.list.dataset.show = event.target.value; });
$('#clear').addEventListener('click', () => wire.list.replaceChildren());
$('#hold').addEventListener('click', (event) => {
  wire.held = !wire.held;
  event.target.setAttribute('aria-pressed', String(wire.held));
  event.target.textContent = wire.held ? 'Resume' : 'Pause';
});

poll();
