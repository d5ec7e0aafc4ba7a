// The list of locks: a row for each, and in the one that is open its chain, its queue and its last holders.
import { $, isMatching, isOld, lockOf, page, session, url } from "./state.js";
import { about, button, callerElement, filled, keyed, make, setSince, setText, since } from "./elements.js";
import { endButton } from "./end.js";
import { age, caller, CAUSES, count, many, moment, named, WIRES } from "./words.js";

const MORE = 100; // rows at a time
const FEW = 20; // on a small screen, at first
const LONGEST_CHAIN = 20;

export const narrow = matchMedia("(max-width: 61.99rem)");
let limit = narrow.matches ? FEW : MORE;

const heads = () => [...$("locks").children];
const place = (name) => heads().findIndex((row) => row.dataset.key === name);
export const rowOf = (name) => (name == null ? undefined : heads().find((row) => row.dataset.key === name));

export function drawLocks() {
  const { locks, matching } = page.scene;
  const rows = locks.slice(0, limit);
  // What one looks at does not go away because it is free, or another lock comes before it.
  if (page.open != null && !rows.some(({ name }) => name === page.open)) rows.push(shownLock(page.open));
  filled($("none"), [rows.length, page.found, isOld()], () => (rows.length ? [] : nothing()));
  $("none").hidden = rows.length > 0;
  const found = page.found && `${many(matching, "lock")} ${matching === 1 ? "matches" : "match"} “${page.found}”`;
  const part = limit < matching && matching > 0 && `showing ${count(Math.min(limit, locks.length))} of ${count(matching)}`;
  setText($("matching"), [found, part].filter(Boolean).join(", "));
  drawMore(locks.length, matching);
  const gone = rowOf(page.current)?.contains(document.activeElement) ? place(page.current) : null;
  keyed($("locks"), rows, (lock) => lock.name, createRow, updateRow);
  settle(rowOf(page.current) ? page.current : rows[Math.min(gone ?? 0, rows.length - 1)]?.name, gone != null && !rowOf(page.current));
}

function nothing() {
  if (page.found) return [isOld() ? "No lock that was held when the connection was lost matches." : "No lock that is held matches."];
  if (isOld()) return ["No lock was held when the connection was lost. What is held now is not known."];
  return ["No lock is held. Take one: ", make("code", {}, "getlock demo -- sleep 60"), ". For programs: ",
    make("a", { href: "openapi.json" }, "the HTTP interface"), "."];
}

function drawMore(there, matching) {
  const left = there - limit;
  $("more-locks").hidden = left <= 0;
  setText($("more-locks"), left <= MORE ? `Show all ${count(there)}` : `Show ${MORE} more`);
  setText($("beyond"), left <= 0 && there < matching ? `These are the first ${there}. Use Find for the others.` : "");
}

function showMore() {
  limit = page.scene.locks.length - limit <= MORE ? Infinity : limit + MORE;
  page.draw();
}

// ---- A row

function createRow({ name }) {
  const parts = { who: make("span", { className: "who" }), since: since(0), waits: make("span") };
  const head = make("button", { type: "button", className: "head", tabIndex: -1 });
  const label = make("span", { className: "name two", title: name }, name);
  head.append(label, parts.who, parts.since, parts.waits);
  head.setAttribute("aria-expanded", "false");
  head.addEventListener("click", () => toggle(name));
  head.addEventListener("focus", () => settle(name));
  return Object.assign(make("li", {}, head), { parts, head, label });
}

function updateRow(row, lock) {
  const { parts, head, label } = row;
  const [first] = lock.held;
  const isOther = page.found && first && !isMatching(lock.name);
  filled(label, [lock.name, isOther], () => [lock.name, ...(isOther ? [make("span", { className: "tag" }, "not matching")] : [])]);
  row.classList.toggle("free", !first);
  parts.since.classList.toggle("unseen", !first);
  if (first) setSince(parts.since, first.acquiredAt);
  filled(parts.who, [first, lock.holders, lock.limit, isModeShown(lock), waitsFor(lock), first && session(first.session)], () => who(lock));
  filled(parts.waits, [lock.waiters, lock.blocked], () => waiting(lock));
  parts.waits.className = lock.waiters ? "waits" : "idle muted";
  const isOpen = lock.name === page.open;
  head.setAttribute("aria-expanded", isOpen);
  row.classList.toggle("open", isOpen);
  if (isOpen) updateBody(row, lock);
  else {
    row.querySelector(":scope > .body")?.remove();
    row.tokens = null;
  }
}

/** What a holder of a lock waits for, if one does. */
function waitsFor({ name, held }) {
  const waits = held.map((hold) => session(hold.session).waitsFor);
  return waits.find((other) => other && other !== name);
}

/** Whether the mode says something: most locks are exclusive. */
const isModeShown = ({ held, queue }) => [...held, ...queue].some(({ mode }) => mode !== "exclusive");

/** How a lock is held; of permits, how many are. */
function modeOf({ held: [first], holders, limit }) {
  return first.mode === "permit" ? `${count(holders)} of ${many(limit, "permit")}` : first.mode;
}

function who(lock) {
  const { held: [first], holders } = lock;
  if (!first) return [isBeyond(lock.name) ? "not among the first" : "not held"];
  const words = [isModeShown(lock) && `${modeOf(lock)} · `, make("span", { className: "together" }, `session ${first.session}`)];
  if (holders > 1) words.push(` and ${many(holders - 1, "other")}`);
  const waits = waitsFor(lock);
  return [callerElement(first.session), " ", make("small", {}, ...words), waits && make("small", { className: "waits" }, `is itself waiting for ${waits}`)].filter(Boolean);
}

function waiting({ waiters, blocked }) {
  if (!waiters) return ["none"];
  return [`${count(waiters)} waiting`, ...(blocked > waiters ? [" ", make("small", {}, `${count(blocked)} blocked`)] : [])];
}

// ---- What is in an open one

function updateBody(row, lock) {
  const here = row.querySelector(":scope > .body");
  const body = here ?? make("div", { className: "body" });
  const chain = chainOf(lock);
  const people = [...lock.held, ...lock.queue, ...chain.flatMap(({ held }) => held)].map((one) => session(one.session));
  const tokens = lock.held.map(({ fencingToken }) => fencingToken).join();
  if (row.tokens !== tokens) {
    // Another session has it now: the last holder is among those before.
    row.tokens = tokens;
    void look();
  }
  filled(body, [lock, chain, people, page.pasts], () => [...holders(lock), ...drawChain(chain), ...queue(lock), ...lastHolders()]);
  if (!here) row.append(body);
}

/** The locks that the holders of this one wait for, what the holders of those wait for, and so on. */
function chainOf(lock) {
  const seen = new Set([lock.name]);
  const chain = [lock];
  for (const { held } of chain) {
    for (const hold of held) {
      const name = session(hold.session).waitsFor;
      if (!name || seen.has(name) || chain.length > LONGEST_CHAIN) continue;
      seen.add(name);
      const next = lockOf(name);
      if (next) chain.push(next);
    }
  }
  return chain.slice(1);
}

function drawChain(chain) {
  if (!chain.length) return [];
  const rows = chain.flatMap((lock) => lock.held.map((hold) => chainRow(lock, hold)));
  return [make("h3", {}, "Waits for, to the end of the chain"), make("ol", { className: "rows chain" }, ...rows)];
}

function chainRow(lock, hold) {
  const { session: id, acquiredAt } = hold;
  const other = session(id).waitsFor;
  const detail = make("span", { className: "detail" }, ...about(id), other ? ` · waits for ${other}` : " · does not wait");
  const who = make("span", { className: "who" }, jump(lock.name, `chain-${id}`), " held by ", caller(id), isModeShown(lock) && make("span", { className: "tag" }, modeOf(lock)));
  return make("li", { className: other ? "" : "end" }, make("span", { className: "place" }, "↳"), who, since(acquiredAt), endButton(id), detail);
}

function holders(lock) {
  const { held, holders, name } = lock;
  if (!held.length) return [make("h3", {}, isBeyond(name) ? "Not among the locks that are shown" : "Not held")];
  const rows = held.map((hold) => {
    const { waitsFor } = session(hold.session);
    const detail = make("span", { className: "detail" }, ...about(hold.session, `since ${moment(hold.acquiredAt)}`, `fencing token ${hold.fencingToken}`));
    if (waitsFor) detail.append(make("br"), "is itself waiting for ", jump(waitsFor, `holder-${hold.session}`));
    return person("•", hold, hold.acquiredAt, detail, isModeShown(lock));
  });
  const beyond = holders > held.length ? `, showing ${held.length}` : "";
  const all = held[0].mode === "permit" ? `: ${modeOf(lock)}` : holders > 1 ? ` ${count(holders)}` : "";
  return [make("h3", {}, `Held by${all}${beyond}`), make("ul", { className: "rows" }, ...rows)];
}

function queue(lock) {
  const { queue, waiters } = lock;
  if (!waiters) return lock.held.length ? [make("h3", {}, "No one is waiting")] : [];
  const rows = queue.map((wait) => {
    const detail = make("span", { className: "detail" }, ...about(wait.session));
    return person(`${wait.place}.`, wait, wait.waitsSince, detail, isModeShown(lock));
  });
  const beyond = waiters > queue.length ? `showing ${queue.length}, ` : "";
  return [make("h3", {}, `${count(waiters)} waiting, ${beyond}next first`), make("ol", { className: "rows" }, ...rows)];
}

function person(place, { session: id, mode }, moment, detail, isModeShown) {
  const name = make("span", { className: "who" }, caller(id), isModeShown && make("span", { className: "tag" }, mode));
  return make("li", {}, make("span", { className: "place" }, place), name, since(moment), endButton(id), detail);
}

function lastHolders() {
  if (!page.pasts.length) return [];
  const rows = page.pasts.map((past) => {
    const { session, wire, peer, mode, acquiredAt, heldMs, cause, note, reason } = past;
    const words = [`session ${session}`, WIRES[wire] ?? wire, named(past) && peer, note && `“${note}”`, `from ${moment(Date.parse(acquiredAt))}`];
    words.push(`${CAUSES[cause] ?? cause}${reason ? `: “${reason}”` : ""}`);
    const name = make("span", { className: "who" }, named(past) || peer, mode !== "exclusive" && make("span", { className: "tag" }, mode));
    const held = make("span", {}, heldMs < 1000 ? `${heldMs} ms` : age(heldMs));
    return make("li", {}, make("span", { className: "place" }, "·"), name, held, make("span", { className: "detail" }, words.filter(Boolean).join(" · ")));
  });
  return [make("h3", {}, "Previous holders, most recent first"), make("ul", { className: "rows" }, ...rows)];
}

/** Asks who held the lock that is open. */
async function look() {
  const name = page.open;
  if (name == null) return;
  const answer = await fetch(url(`api/lock/history/${encodeURIComponent(name)}?limit=10`)).catch(() => null);
  const { holds = [] } = answer?.ok ? await answer.json() : {};
  if (page.open !== name) return;
  page.pasts = holds;
  const row = rowOf(name);
  if (row) updateBody(row, shownLock(name));
}

const shownLock = (name) => lockOf(name) ?? { name, holders: 0, held: [], waiters: 0, queue: [], blocked: 0 };

/** Whether it may be held, but is not among the first locks, which are all that is known. */
const isBeyond = (name) => !lockOf(name) && page.scene.matching > page.scene.locks.length;

// ---- The keys, and what opens

/** The keys are at this lock now. */
export function settle(name, focus = false) {
  page.current = name ?? null;
  for (const row of heads()) {
    row.head.tabIndex = row.dataset.key === name ? 0 : -1;
    if (focus && row.dataset.key === name) row.head.focus();
  }
}

export function step(by) {
  const rows = heads();
  if (!rows.length) return;
  const isThere = $("locks").contains(document.activeElement);
  const at = isThere ? place(page.current) + by : Math.max(0, place(page.current));
  if (at >= rows.length && !$("more-locks").hidden) {
    showMore();
    return step(by);
  }
  const { key } = rows[Math.min(Math.max(at, 0), rows.length - 1)].dataset;
  settle(key, true);
  rowOf(key).scrollIntoView({ block: "nearest" });
}

export function toggle(name) {
  page.open = page.open === name ? null : name;
  page.pasts = [];
  if (page.scene) page.draw();
}

/** Shows a lock; if it is not among those that are known, looks for it. */
export function go(name) {
  if (!lockOf(name)) page.seek(name);
  if (page.open !== name) toggle(name);
  settle(name, true);
  rowOf(name)?.scrollIntoView({ block: "nearest" });
}

/** The name of a lock, which shows it. */
export function jump(name, focus) {
  return button("jump name", name, `jump-${focus}-${name}`, () => go(name));
}

export function wireLocks() {
  $("more-locks").addEventListener("click", showMore);
}
