// The live page. It shows what comes from /events, and changes only what has changed, so that the
// focus stays where it is. Names and notes come from strangers: they go into the page as text alone.

const GRAPH_NODES = 60;
const GRAPH_WAITERS = 8; // of one lock
const SILENCE = 40_000; // longer than the server is ever silent
const $ = (id) => document.getElementById(id);

let scene = null;
let ahead = 0; // the server's clock before ours
let heard = Date.now();
let lostAt = null;
let source = null;
let open = null; // the name of the lock that is open
let current = null; // the name of the lock where the keys are
let ending = null; // the session that is asked about
let pasts = []; // of the open lock
let found = new URLSearchParams(location.search).get("find") ?? "";

// ---- Words

const now = () => Date.now() + ahead;
const two = (number) => String(number).padStart(2, "0");
const many = (count, one, more = one + "s") => `${count.toLocaleString("en")} ${count === 1 ? one : more}`;

function age(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

function moment(ms) {
  const at = new Date(ms);
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

const session = (id) => scene?.sessions[id] ?? {};
/** What a session calls itself, and the user it logged in as if that is another name. */
const named = ({ client, user }) => (client && user && client !== user ? `${client} (user ${user})` : client || user);
const caller = (id) => named(session(id)) || session(id).peer || `session ${id}`;
const called = (id) => `session ${id}` + (named(session(id)) || session(id).peer ? ` (${caller(id)})` : "");
const lockOf = (name) => scene?.locks.find((lock) => lock.name === name);

function about(id) {
  const { peer, wire, note, expiresAt } = session(id);
  const words = [`session ${id}`, wire];
  if (named(session(id))) words.push(peer);
  if (note) words.push(`“${note}”`);
  if (expiresAt) words.push(`lease until ${moment(expiresAt).slice(11)}`);
  return words.filter(Boolean).join(" · ");
}

// ---- Elements

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child != null));
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** How long ago something was; it goes on by itself. */
function since(ms) {
  const element = make("time", { dateTime: new Date(ms).toISOString(), title: moment(ms) }, age(now() - ms));
  element.dataset.since = ms;
  return element;
}

function setSince(element, ms) {
  if (element.dataset.since === String(ms)) return;
  element.dataset.since = ms;
  element.dateTime = new Date(ms).toISOString();
  element.title = moment(ms);
  setText(element, age(now() - ms));
}

function tick() {
  for (const element of document.querySelectorAll("time[data-since]")) {
    setText(element, age(now() - element.dataset.since));
  }
  if (scene) setText($("uptime"), age(now() - scene.startedAt));
  if (lostAt) notice(`The connection to the server was lost ${age(Date.now() - lostAt)} ago. What stands here is as old. Trying again.`);
}

/** Makes the children of a list those of `rows`, in their order, and keeps those that are there. */
function keyed(list, rows, key, create, update) {
  const here = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const focused = document.activeElement;
  let at = list.firstElementChild;
  for (const row of rows) {
    const name = String(key(row));
    let child = here.get(name);
    here.delete(name);
    if (!child) {
      child = create(row);
      child.dataset.key = name;
    }
    update(child, row);
    if (child === at) at = at.nextElementSibling;
    else list.insertBefore(child, at);
  }
  for (const child of here.values()) child.remove();
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

/** Fills a part of the page again, if what it is made of has changed. */
function filled(element, from, fill) {
  const text = JSON.stringify(from);
  if (element.dataset.from === text) return;
  element.dataset.from = text;
  const had = element.contains(document.activeElement) && document.activeElement.dataset.focus;
  element.replaceChildren(...fill());
  if (had) (element.querySelector(`[data-focus="${had}"]`) ?? rowOf(current)?.head)?.focus({ preventScroll: true });
}

function endButton(id) {
  const button = make("button", { type: "button", className: "danger" }, `End ${id}`);
  button.setAttribute("aria-label", `End ${called(id)}`);
  button.dataset.focus = `end-${id}`;
  button.addEventListener("click", () => ask(id));
  return session(id).mayEnd === false ? null : button;
}

function jump(name) {
  const button = make("button", { type: "button", className: "jump name" }, name);
  button.dataset.focus = `jump-${button.textContent.length}`;
  button.addEventListener("click", () => go(name, true));
  return button;
}

// ---- The list of locks

function rowOf(name) {
  return name == null ? undefined : [...$("locks").children].find((row) => row.dataset.key === name);
}

function createRow({ name }) {
  const parts = {
    who: make("span", { className: "who" }),
    since: since(now()),
    waits: make("span"),
  };
  const head = make("button", { type: "button", className: "head", tabIndex: -1 });
  head.append(make("span", { className: "name two", title: name }, name), parts.who, parts.since, parts.waits);
  head.setAttribute("aria-expanded", "false");
  head.addEventListener("click", () => toggle(name));
  head.addEventListener("focus", () => settle(name));
  const row = make("li", {}, head);
  return Object.assign(row, { parts, head });
}

function updateRow(row, lock) {
  const { parts, head } = row;
  const [first] = lock.held;
  row.classList.toggle("free", !first);
  parts.since.hidden = !first;
  if (first) setSince(parts.since, first.acquiredAt);
  filled(parts.who, [first, lock.holders, first && session(first.session)], () => who(lock));
  setText(parts.waits, lock.waiters ? `${lock.waiters.toLocaleString("en")} waiting` : "none");
  parts.waits.className = lock.waiters ? "waits" : "idle muted";
  const isOpen = lock.name === open;
  head.setAttribute("aria-expanded", isOpen);
  row.classList.toggle("open", isOpen);
  if (isOpen) updateBody(row, lock);
  else {
    row.querySelector(":scope > .body")?.remove();
    row.tokens = null;
  }
}

function who({ held: [first], holders }) {
  if (!first) return ["nobody", make("small", {}, "free")];
  const more = holders > 1 ? ` and ${many(holders - 1, "other")}` : "";
  const id = make("span", { className: "together" }, `session ${first.session}`);
  return [callerElement(first.session), make("small", {}, `${first.mode} · `, id, more)];
}

function updateBody(row, lock) {
  const here = row.querySelector(":scope > .body");
  const body = here ?? make("div", { className: "body" });
  const people = [...lock.held, ...lock.queue].map((one) => session(one.session));
  const tokens = lock.held.map(({ fencingToken }) => fencingToken).join();
  if (row.tokens !== tokens) {
    // Another session has it now: the last holder is among those before.
    row.tokens = tokens;
    void look();
  }
  filled(body, [lock, people, pasts], () => [...holders(lock), ...queue(lock), ...lastHolders()]);
  if (!here) row.append(body);
}

function holders({ held, holders }) {
  if (!held.length) return [make("h3", {}, "Nobody holds it"), make("p", { className: "muted" }, "It is free to be taken.")];
  const rows = held.map((hold) => {
    const { waitsFor } = session(hold.session);
    const detail = make("span", { className: "detail" }, about(hold.session), ` · since ${moment(hold.acquiredAt)} · fencing token ${hold.fencingToken}`);
    if (waitsFor) detail.append(make("br"), "waits itself for ", jump(waitsFor));
    return person("•", hold, hold.acquiredAt, detail);
  });
  const beyond = holders > held.length ? `, the first ${held.length}` : "";
  return [make("h3", {}, holders > 1 ? `Held by ${holders}${beyond}` : "Held by"), make("ul", { className: "rows" }, ...rows)];
}

function queue({ queue, waiters }) {
  if (!waiters) return [make("h3", {}, "Nobody waits")];
  const detail = ({ session }) => make("span", { className: "detail" }, about(session));
  const rows = queue.map((wait, at) => person(`${at + 1}.`, wait, wait.waitsSince, detail(wait)));
  const beyond = waiters > queue.length ? `, the first ${queue.length}` : "";
  return [make("h3", {}, `Waiting: ${waiters}${beyond}, next first`), make("ol", { className: "rows" }, ...rows)];
}

/** Who it is, in two lines at most. An address is never that long, and its end matters. */
function callerElement(id) {
  const text = caller(id);
  return named(session(id)) ? make("span", { className: "two", title: text }, text) : text;
}

function person(place, { session: id, mode }, moment, detail) {
  const name = make("span", { className: "who" }, caller(id), make("span", { className: "tag" }, mode));
  return make("li", {}, make("span", { className: "place" }, place), name, since(moment), endButton(id), detail);
}

function lastHolders() {
  if (!pasts.length) return [];
  const rows = pasts.map((past) => {
    const { session, wire, peer, mode, acquiredAt, heldMs, cause } = past;
    const words = `session ${session} · ${wire} · from ${moment(Date.parse(acquiredAt))} · ${CAUSES[cause] ?? cause}`;
    const name = make("span", { className: "who" }, named(past) || peer, make("span", { className: "tag" }, mode));
    const held = make("span", {}, heldMs < 1000 ? `${heldMs} ms` : age(heldMs));
    return make("li", {}, make("span", { className: "place" }, "·"), name, held, make("span", { className: "detail" }, words));
  });
  return [make("h3", {}, "Held it before, the last first"), make("ul", { className: "rows" }, ...rows)];
}

/** Why a hold ended, in words. */
const CAUSES = {
  release: "released",
  disconnect: "its connection ended",
  killed: "its session was ended by KILL",
  expired: "its lease ran out",
  shutdown: "the server stopped",
  idle: "it was idle for too long",
  reset: "its session was reset",
  revoked: "its user lost the right",
  handed_back: "it never heard that it had it",
};

/** Asks who held the lock that is open. */
async function look() {
  const name = open;
  if (name == null) return;
  const answer = await fetch(`api/lock/history/${encodeURIComponent(name)}`).catch(() => null);
  const { holds = [] } = answer?.ok ? await answer.json() : {};
  if (open !== name) return;
  pasts = holds;
  const row = rowOf(name);
  if (row) updateBody(row, shownLock(name));
}

const shownLock = (name) => lockOf(name) ?? { name, holders: 0, held: [], waiters: 0, queue: [] };

// ---- Sessions

function createSession([id]) {
  const parts = {
    who: make("span", { className: "who" }),
    button: make("span"),
    detail: make("span", { className: "detail" }),
  };
  return Object.assign(make("li", {}, make("span", { className: "id" }, id), parts.who, parts.button, parts.detail), { parts });
}

function updateSession({ parts }, [id, told]) {
  filled(parts.who, caller(id), () => [callerElement(id)]);
  filled(parts.button, told.mayEnd, () => [endButton(id)].filter(Boolean));
  filled(parts.detail, told, () => {
    const { holds, waitsFor, note, expiresAt, wire, peer, memory } = told;
    const words = [wire, named(told) && peer, expiresAt && `lease until ${moment(expiresAt).slice(11)}`];
    words.push(holds > 0 && `holds ${many(holds, "lock")}`, memory && `has ${Math.ceil(memory / 1024)} kB kept`);
    const line = words.filter(Boolean).join(" · ");
    const said = note && make("span", { className: "two", title: note }, `“${note}”`);
    return [line, ...(waitsFor ? [" · waits for ", jump(waitsFor)] : []), said].filter(Boolean);
  });
}

// ---- The graph

/** Who waits in the first places of each lock, and for which holders. */
function waits() {
  const edges = [];
  for (const { name, held, queue, waiters } of scene.locks) {
    const shown = queue.slice(0, GRAPH_WAITERS);
    for (const { session: id } of shown) {
      const blockers = held.map((hold) => hold.session).filter((holder) => holder !== id);
      if (blockers.length) edges.push({ id, name, blockers });
    }
    if (waiters > shown.length && held.length) {
      edges.push({ id: `${name}\n`, name, blockers: [held[0].session], more: waiters - shown.length });
    }
  }
  return edges;
}

/** Places for those who wait, below the one they wait for, and a step to the right. */
function layout(edges) {
  const waiting = new Map(edges.map((edge) => [edge.id, edge]));
  const behind = new Map();
  for (const edge of edges) {
    const [first] = edge.blockers;
    behind.set(first, [...(behind.get(first) ?? []), edge]);
  }
  const roots = [...behind.keys()].filter((id) => !waiting.has(id));
  const places = new Map();
  let row = 0;
  const put = (id, column) => {
    if (places.has(id) || places.size >= GRAPH_NODES) return;
    const top = row;
    const holds = [...new Set((behind.get(id) ?? []).map((edge) => edge.name))];
    places.set(id, { id, column, row: top, holds, ...waiting.get(id) });
    const beside = new Set((behind.get(id) ?? []).flatMap((edge) => edge.blockers));
    let under = top + 1;
    for (const other of beside) {
      if (places.has(other) || waiting.has(other) || places.size >= GRAPH_NODES) continue;
      places.set(other, { id: other, column, row: under++, holds });
    }
    row = under;
    places.get(id).isAlone = under === top + 1;
    for (const edge of behind.get(id) ?? []) put(edge.id, column + 1);
  };
  for (const id of roots) put(id, 0);
  return { places, total: new Set(edges.flatMap(({ id, blockers }) => [id, ...blockers])).size };
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const ruler = document.createElement("canvas").getContext("2d");

function widthOf(text, style) {
  ruler.font = `${style} ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

/** A text, or its beginning and a sign that there is more. */
function short(text, style, width) {
  if (widthOf(text, style) <= width) return text;
  const letters = [...text];
  while (letters.length && widthOf(`${letters.join("")}…`, style) > width) letters.pop();
  return `${letters.join("")}…`;
}

const PAD = 12;
const RAIL = 9; // from the left end of a box, the way of those who wait for it
const [FIRST, SECOND, ID] = ["15px", "13px", "600 15px"]; // as in page.css

/** How large boxes are, to have place for so many steps. In wide ones all is in one line. */
function boxes(deepest) {
  const place = $("graph").clientWidth - 2 * PAD - RAIL;
  const flat = place - deepest * 28 >= 320;
  const step = flat ? 28 : 16;
  const width = Math.min(Math.max(place - deepest * step, 215), flat ? 440 : 260);
  return { flat, step, width, height: flat ? 30 : 46, down: 8 };
}

const xOf = ({ column }, box) => PAD + RAIL + column * box.step;
const yOf = ({ row }, box) => PAD + row * (box.height + box.down);

function drawNode(place, box) {
  const { id, name, holds, more } = place;
  const group = svg("g", { class: more ? "more" : name ? "waiting" : "root", transform: `translate(${xOf(place, box)} ${yOf(place, box)})` });
  group.append(svg("rect", { width: box.width, height: box.height, rx: 6 }));
  const right = more ? 0 : widthOf(String(id), ID) + 10;
  const inside = box.width - 20;
  const what = name ? `waits for ${name}` : `holds ${holds.join(", ")}`;
  const [one, two] = more ? [`and ${many(more, "other")}`, "wait for it"] : [caller(id), what];
  const first = short(one, FIRST, box.flat ? (inside - right) * 0.55 : inside - right);
  const x = box.flat ? 10 + widthOf(first, FIRST) + 10 : 10;
  const second = short(two, SECOND, box.width - x - 10 - (box.flat ? right : 0));
  group.append(svg("text", { x: 10, y: 20 }, first), svg("text", { x, y: box.flat ? 20 : 38, class: "second" }, second));
  if (!more) group.append(svg("text", { x: box.width - 10, y: 20, class: "id" }, String(id)));
  if (!more) group.append(svg("title", {}, name ? told(place) : `${called(id)} ${what}`));
  return group;
}

/** From one who waits to below the holder; where other holders are in the way, around them. */
function drawEdge(from, to, box) {
  const [x1, y1] = [xOf(from, box), yOf(from, box) + box.height / 2];
  const [x2, y2] = [xOf(to, box), yOf(to, box)];
  const [below, beside] = [y2 + box.height, y2 + box.height / 3];
  const isBelow = to.isAlone && from.blockers.length === 1;
  const edge = isBelow ? `H${x2 + RAIL} V${below + 8}` : `H${x2 - RAIL} V${beside} H${x2 - 6}`;
  const tip = isBelow ? `M${x2 + RAIL} ${below + 1} l-5 8 h10 z` : `M${x2 - 1} ${beside} l-8 -5 v10 z`;
  return svg("g", {}, svg("path", { class: "edge", d: `M${x1} ${y1} ${edge}` }), svg("path", { class: "tip", d: tip }));
}

function drawGraph() {
  const edges = waits();
  const people = edges.flatMap(({ id, blockers }) => [id, ...blockers].map((id) => session(id)));
  filled($("graph"), [edges, people, $("graph").clientWidth], () => {
    const { places, total } = layout(edges);
    if (!places.size) {
      setText($("graph-note"), "");
      return [make("p", {}, "Nobody waits.")];
    }
    const all = [...places.values()];
    const box = boxes(Math.max(...all.map(({ column }) => column)));
    const width = Math.max(...all.map((place) => xOf(place, box))) + box.width + PAD;
    const height = Math.max(...all.map((place) => yOf(place, box))) + box.height + PAD;
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
    picture.setAttribute("aria-label", all.filter(({ name, more }) => name && !more).map(told).join("; "));
    for (const place of all) {
      const blockers = (place.blockers ?? []).map((id) => places.get(id)).filter(Boolean);
      picture.append(...blockers.map((blocker) => drawEdge(place, blocker, box)));
    }
    picture.append(...all.map((place) => drawNode(place, box)));
    const isLarge = width > $("graph").clientWidth || height > 0.7 * innerHeight;
    const notes = [places.size < total && `the first ${places.size} of ${total}`, isLarge && "scroll to see all"];
    setText($("graph-note"), notes.filter(Boolean).join(", "));
    return [picture];
  });
}

const told = ({ id, name, blockers }) => `${called(id)} waits for ${name}, held by ${blockers.map(called).join(", ")}`;

// ---- Everything

function draw() {
  const { totals, locks, matching, version, stopping, sessions } = scene;
  setText($("version"), version);
  for (const what of ["locks", "waiters", "sessions"]) setText($(`total-${what}`), totals[what].toLocaleString("en"));
  for (const what of ["lock", "session"]) setText($(`total-${what}s`).previousElementSibling, totals[`${what}s`] === 1 ? what : `${what}s`);
  document.title = totals.waiters ? `(${totals.waiters}) getlockd` : "getlockd";
  setState(stopping ? "stopping" : "live", stopping ? "the server is stopping" : "live");
  const rows = [...locks];
  // What one looks at does not go away because it is free.
  if (open != null && !lockOf(open)) rows.push(shownLock(open));
  $("none").hidden = rows.length > 0;
  setText($("none"), found ? "No lock that is held has this in its name." : "No lock is held.");
  const first = locks.length < matching ? `the first ${locks.length} of ${matching.toLocaleString("en")}` : "";
  setText($("matching"), [found && `${many(matching, "lock")} with “${found}”`, first].filter(Boolean).join(", "));
  const gone = rowOf(current)?.contains(document.activeElement) ? place(current) : null;
  keyed($("locks"), rows, (lock) => lock.name, createRow, updateRow);
  settle(rowOf(current) ? current : rows[Math.min(gone ?? 0, rows.length - 1)]?.name, gone != null && !rowOf(current));
  const people = Object.entries(sessions);
  const shown = people.slice(0, 100);
  setText($("sessions-note"), shown.length < people.length ? `the first ${shown.length} of ${people.length}` : "");
  keyed($("sessions"), shown, ([id]) => id, createSession, updateSession);
  drawGraph();
  if (ending != null) describeEnd();
}

const heads = () => [...$("locks").children];
const place = (name) => heads().findIndex((row) => row.dataset.key === name);

/** The keys are at this lock now. */
function settle(name, focus = false) {
  current = name ?? null;
  for (const row of heads()) {
    row.head.tabIndex = row.dataset.key === name ? 0 : -1;
    if (focus && row.dataset.key === name) row.head.focus();
  }
}

function step(by) {
  const rows = heads();
  if (!rows.length) return;
  const isThere = $("locks").contains(document.activeElement);
  const at = isThere ? place(current) + by : Math.max(0, place(current));
  const { key } = rows[Math.min(Math.max(at, 0), rows.length - 1)].dataset;
  settle(key, true);
  rowOf(key).scrollIntoView({ block: "nearest" });
}

function toggle(name) {
  open = open === name ? null : name;
  pasts = [];
  if (scene) draw();
}

/** Shows a lock; if it is not among those that are shown, looks for it. */
function go(name, focus) {
  if (!lockOf(name)) seek(name);
  if (open !== name) toggle(name);
  settle(name, focus);
  rowOf(name)?.scrollIntoView({ block: "nearest" });
}

// ---- Ending a session

function ask(id) {
  if (session(id).mayEnd === false) return say(`You may not end ${called(id)}.`);
  ending = id;
  describeEnd();
  if (!$("end").open) $("end").showModal();
}

function describeEnd() {
  const told = scene.sessions[ending];
  const mine = scene.locks.filter((lock) => lock.held.some(({ session }) => String(session) === String(ending)));
  setText($("end-title"), `End session ${ending}?`);
  const { peer, wire } = told ?? {};
  setText($("end-who"), told ? `${[named(told), peer].filter(Boolean).join(", ")} by ${wire}.` : "It has ended, or neither holds nor waits any more.");
  $("end-do").disabled = !told;
  filled($("end-locks"), [mine, ending], () => mine.slice(0, 8).map((lock) => make("li", {}, make("span", { className: "name" }, lock.name), ` ${next(lock)}`)));
  const rest = (told?.holds ?? 0) - Math.min(mine.length, 8);
  const words = [rest > 0 && `${many(rest, "more lock")} that it holds will be free.`, told?.waitsFor && `It stops waiting for ${told.waitsFor}.`];
  setText($("end-note"), words.filter(Boolean).join(" "));
}

function next({ held, queue, waiters }) {
  if (held.length > 1) return `stays with ${many(held.length - 1, "other holder")}.`;
  if (!waiters) return "will be free; nobody waits.";
  if (!queue.length) return `passes on; ${waiters} wait.`;
  return `passes to ${called(queue[0].session)}, who has waited ${age(now() - queue[0].waitsSince)}.`;
}

async function end(id) {
  const name = called(id);
  try {
    const answer = await fetch(`api/session/${id}/kill`, { method: "POST", credentials: "same-origin" });
    const told = await answer.json().catch(() => ({}));
    say(answer.ok ? `${name} has ended; its locks have passed on.` : `${name} was not ended: ${told.message ?? answer.statusText}`);
  } catch {
    say(`${name}: the server could not be reached; nothing is known.`);
  }
}

let saying = 0;
function say(text) {
  setText($("said"), text);
  clearTimeout(saying);
  saying = setTimeout(() => setText($("said"), ""), 8000);
}

// ---- What comes from the server

function setState(state, text) {
  $("state").dataset.state = state;
  setText($("state"), text);
  if (state === "lost") return;
  lostAt = null;
  notice("");
}

function notice(text) {
  $("notice").hidden = !text;
  setText($("notice"), text);
}

function lost() {
  lostAt ??= heard;
  setState("lost", "lost, trying again");
}

function listen() {
  source?.close();
  source = new EventSource(found ? `events?find=${encodeURIComponent(found)}` : "events");
  heard = Date.now();
  source.addEventListener("clock", ({ data }) => {
    heard = Date.now();
    ahead = Number(data) - heard;
  });
  source.addEventListener("scene", ({ data }) => {
    heard = Date.now();
    scene = JSON.parse(data);
    draw();
  });
  source.addEventListener("open", () => {
    heard = Date.now();
    if (scene && lostAt) setState("live", "live");
  });
  source.addEventListener("error", lost);
}

/** The browser tries again by itself, unless it was answered something else, or hears nothing. */
function watch() {
  if (Date.now() - heard > SILENCE) lost();
  const isOver = source.readyState === EventSource.CLOSED || Date.now() - heard > SILENCE;
  if (isOver && Date.now() - tried > 5000) {
    tried = Date.now();
    listen();
  }
}
let tried = 0;

function seek(text) {
  found = text.trim();
  if ($("find").value.trim() !== found) $("find").value = found;
  window.history.replaceState(null, "", found ? `?find=${encodeURIComponent(found)}` : location.pathname);
  listen();
}

// ---- Keys

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || document.querySelector("dialog[open]")) return;
  const { key, target } = event;
  const isTyping = target.matches("input");
  if (key === "Escape") {
    event.preventDefault(); // a browser clears the field by itself
    return escape(isTyping);
  }
  if (isTyping && key !== "ArrowDown") return;
  if (target.closest("#graph") && key.startsWith("Arrow")) return;
  const act = { ArrowDown: () => step(1), ArrowUp: () => step(-1) }[key] ?? ($("shortcuts").checked && letters[key]);
  if (!act) return;
  event.preventDefault();
  act();
}

const letters = {
  j: () => step(1),
  k: () => step(-1),
  x: () => lockOf(current)?.held.length && ask(lockOf(current).held[0].session),
  "/": () => ($("find").focus(), $("find").select()),
  "?": () => $("help").showModal(),
};

function escape(isTyping) {
  if (open != null && !isTyping) {
    const name = open;
    toggle(name);
    settle(rowOf(name) ? name : current, true);
    return;
  }
  clearTimeout(typing);
  $("find").value = "";
  if (found) seek("");
  if (!isTyping) return;
  // The letters are keys again.
  $("find").blur();
  step(0);
}

let typing = 0;
$("find").value = found;
$("find").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => seek($("find").value), 250);
});
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  if ($("find").value.trim() !== found) seek($("find").value);
  step(0);
});
$("keys").addEventListener("click", () => $("help").showModal());
$("end").addEventListener("close", () => {
  const id = ending;
  ending = null;
  if ($("end").returnValue === "end") end(id);
  $("end").returnValue = "";
});
document.addEventListener("keydown", onKey);
new ResizeObserver(() => scene && drawGraph()).observe($("graph"));
setInterval(tick, 1000);
setInterval(watch, 1000);
listen();
