// Who is behind it all: the sessions that hold up the most others, and who waits for whom.
import { $, allLocks, heldBy, isMatching, isOld, page, session } from "./state.js";
import { about, button, filled, make, setText, since } from "./elements.js";
import { endButton } from "./end.js";
import { go, jump } from "./locks.js";
import { blockedBy, caller, called, count, many } from "./words.js";

const MAX_BOXES = 60;
const WAITERS = 8; // of a lock that matches; the others stand by their number
const WAITERS_BESIDE = 3; // of one that it leads to
const BLOCKERS = 3; // at first

// ---- Those who hold up others

let isAll = false;

export function drawBlockers() {
  const { blockers, blocking } = page.scene;
  const shown = blockers.slice(0, isAll ? blockers.length : BLOCKERS);
  $("blockers-part").hidden = !blockers.length;
  setText($("blockers-note"), shown.length < blocking ? `showing ${shown.length} of ${count(blocking)}` : "");
  $("more-blockers").hidden = isAll || shown.length === blockers.length;
  setText($("more-blockers"), `Show ${blockers.length}`);
  const people = shown.map((one) => [one, session(one.session), heldBy(one.session).map(({ name, held }) => [name, held])]);
  filled($("blockers"), people, () => shown.map(drawBlocker));
}

function drawBlocker({ session: id, holders, blocked, name }) {
  const held = heldBy(id).find((lock) => lock.name === name)?.held.find((hold) => hold.session === id);
  const { holds, waitsFor } = session(id);
  const who = make("span", { className: "who" }, make("strong", {}, caller(id)), holders > 1 ? ` and ${many(holders - 1, "other")} block ` : " blocks ", make("strong", { className: "waits" }, many(blocked, "session")));
  const what = make("span", { className: "what" }, "holds ", jump(name, `blocker-${id}`));
  if (held) what.append(" for ", since(held.acquiredAt));
  if (holds > 1) what.append(`, and ${many(holds - 1, "other lock")}`);
  if (waitsFor) what.append(` · is itself waiting for ${waitsFor}`);
  return make("li", {}, who, make("span", {}, endButton(id)), what, make("span", { className: "detail" }, ...about(id)));
}

// ---- Who waits for whom

/** Who waits in the first places of each lock, and for which holders. Those who lead on to others are never left out. */
function waits() {
  const locks = allLocks();
  const holders = new Set(locks.flatMap(({ held }) => held.map((hold) => hold.session)));
  const leading = new Map();
  for (const id of holders) {
    const name = session(id).waitsFor;
    if (name) leading.set(name, [...(leading.get(name) ?? []), id]);
  }
  const edges = [];
  for (const { name, held, queue, waiters } of locks) {
    const first = queue.slice(0, isMatching(name) ? WAITERS : WAITERS_BESIDE).map((wait) => wait.session);
    const shown = [...new Set([...first, ...(leading.get(name) ?? [])])];
    for (const id of shown) {
      const blockers = held.map((hold) => hold.session).filter((holder) => holder !== id);
      if (blockers.length) edges.push({ id, name, blockers });
    }
    if (waiters > shown.length && held.length) edges.push({ id: `${name}\n`, name, blockers: [held[0].session], more: waiters - shown.length });
  }
  return edges;
}

/** The edges below each session. A session that waits for several holders is placed below one that waits itself, if there is one. */
function tree(edges) {
  const waiting = new Map(edges.map((edge) => [edge.id, edge]));
  const behind = new Map();
  for (const edge of edges) {
    const parent = edge.blockers.find((id) => waiting.has(id)) ?? edge.blockers[0];
    behind.set(parent, [...(behind.get(parent) ?? []), edge]);
  }
  // Where there are many, those come first that lead on.
  for (const below of behind.values()) below.sort((a, b) => behind.has(b.id) - behind.has(a.id));
  const roots = [...behind.keys()].filter((id) => !waiting.has(id));
  roots.sort((a, b) => blockedBy(b) - blockedBy(a) || a - b);
  return { behind, roots };
}

export function drawWaits() {
  const edges = waits();
  const people = edges.flatMap(({ id, blockers }) => [id, ...blockers].map((id) => session(id)));
  filled($("graph"), [edges, people, page.found, page.scene.blockers, isOld()], () => {
    setText($("graph-note"), "");
    if (!edges.length && isOld()) return [make("p", {}, "No one was waiting when the connection was lost.")];
    if (!edges.length) return [make("p", {}, page.found ? "No one is waiting for a matching lock." : "No one is waiting.")];
    const { behind, roots } = tree(edges);
    const placed = new Set();
    const list = make("ul", {}, ...roots.map((id) => drawNode({ id }, behind, placed)).filter(Boolean));
    const total = new Set(edges.flatMap(({ id, blockers }) => [id, ...blockers])).size;
    if (placed.size < total) setText($("graph-note"), `showing ${placed.size} of ${total}`);
    return [list];
  });
  keepTabStop();
}

function drawNode(edge, behind, placed) {
  const { id, name, more } = edge;
  if (placed.has(id) || placed.size >= MAX_BOXES) return null;
  placed.add(id);
  if (more) return make("li", { className: "more" }, `and ${many(more, "other")} ${more === 1 ? "waits" : "wait"} for ${name}`);
  const below = behind.get(id) ?? [];
  const item = make("li", {}, drawBox(edge, below));
  if (!name) item.append(...beside(id, below, placed));
  const items = below.map((next) => drawNode(next, behind, placed)).filter(Boolean);
  if (items.length) item.append(make("ul", {}, ...items));
  return item;
}

function drawBox({ id, name, blockers }, below) {
  const holds = [...new Set(below.map((next) => next.name))];
  const others = name && blockers.length > 1 ? `, held by ${many(blockers.length, "session")}` : "";
  const what = name ? `waits for ${name}${others}` : `holds ${holds.join(", ")}`;
  const blocked = blockedBy(id);
  const box = button(name ? "box waiting" : "box root", "", `box-${id}`, () => go(name ?? holds[0]));
  box.title = `${called(id)} ${what}`;
  box.append(make("span", { className: "who" }, caller(id)), make("span", { className: "id" }, ` session ${id} `), make("span", { className: "second" }, what));
  if (!name && blocked) box.append(make("span", { className: "waits blocks" }, ` blocks ${count(blocked)}`));
  return box;
}

/** Those who share with a session what others wait for. */
function beside(id, below, placed) {
  const names = new Map(below.flatMap(({ name, blockers }) => blockers.filter((other) => other !== id).map((other) => [other, name])));
  return [...names].filter(([other]) => !placed.has(other) && !session(other).waitsFor && placed.size < MAX_BOXES).map(([other, name]) => {
    placed.add(other);
    return drawBox({ id: other }, [{ name }]);
  });
}

// ---- Keys: the boxes are one stop, and the arrows go from one to the next

const boxes = () => [...$("graph").querySelectorAll(".box")];

function keepTabStop() {
  const all = boxes();
  const stop = all.find((box) => box === document.activeElement) ?? all[0];
  for (const box of all) box.tabIndex = box === stop ? 0 : -1;
}

export function stepBox(by) {
  const all = boxes();
  const next = all[all.indexOf(document.activeElement) + by];
  if (!next) return;
  next.focus();
  keepTabStop();
}

export function wireWaits() {
  $("more-blockers").addEventListener("click", () => {
    isAll = true;
    drawBlockers();
  });
}
