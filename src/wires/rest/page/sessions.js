// The list of sessions that hold or wait for what is shown.
import { $, heldBy, page, session } from "./state.js";
import { callerElement, filled, keyed, make, setText, since } from "./elements.js";
import { endButton } from "./end.js";
import { jump, narrow } from "./locks.js";
import { caller, count, leased, many, named, quiet, WIRES } from "./words.js";

const MORE = 100;
const NAMES = 3; // of the locks that one holds
const FEW = 20; // on a small screen, at first
let limit = narrow.matches ? FEW : MORE;

export function drawSessions() {
  const people = Object.entries(page.scene.sessions);
  const shown = people.slice(0, limit);
  setText($("sessions-note"), shown.length < people.length ? `showing ${shown.length} of ${count(people.length)}` : "");
  $("more-sessions").hidden = shown.length === people.length;
  setText($("more-sessions"), `Show ${Math.min(MORE, people.length - shown.length)} more`);
  keyed($("sessions"), shown, ([id]) => id, createSession, updateSession);
}

function createSession([id]) {
  const parts = { who: make("span", { className: "who" }), button: make("span"), detail: make("span", { className: "detail" }) };
  return Object.assign(make("li", {}, make("span", { className: "id" }, id), parts.who, parts.button, parts.detail), { parts });
}

function updateSession({ parts }, [id, told]) {
  const names = heldBy(id).slice(0, NAMES).map(({ name }) => name);
  filled(parts.who, [caller(id), named(session(id))], () => [callerElement(id)]);
  filled(parts.button, told.mayEnd, () => [endButton(id)].filter(Boolean));
  filled(parts.detail, [told, names], () => detail(id, told, names));
}

function detail(id, { holds, waitsFor, note, expiresAt, restored, idleSince, wire, peer, memory, ...told }, names) {
  const words = [WIRES[wire] ?? wire, named(told) && peer, expiresAt && leased(expiresAt, restored)];
  words.push(memory && `uses ${Math.ceil(memory / 1024)} kB of memory`);
  const line = [words.filter(Boolean).join(" · ")];
  const rest = (holds ?? 0) - names.length;
  if (names.length) line.push(" · holds ", ...names.flatMap((name, at) => [at ? ", " : "", jump(name, `session-${id}`)]));
  if (names.length && rest > 0) line.push(` and ${many(rest, "other")}`);
  else if (rest > 0) line.push(` · holds ${many(rest, "lock")}`);
  if (waitsFor) line.push(" · waits for ", jump(waitsFor, `waits-${id}`));
  if (idleSince && !waitsFor) line.push(since(idleSince, (ms) => quiet(ms) && ` · ${quiet(ms)}`));
  if (note) line.push(make("span", { className: "two", title: note }, `“${note}”`));
  return line;
}

export function wireSessions() {
  $("more-sessions").addEventListener("click", () => {
    limit += MORE;
    page.draw();
  });
}
