// Elements, and how to change no more of them than has changed, so that the focus stays where it is. Names and notes
// come from strangers: they go into the page as text alone.
import { $, now, page, session } from "./state.js";
import { age, caller, leased, moment, named, quiet, WIRES } from "./words.js";

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** How long ago something was, in the words of `say`; it goes on by itself. */
export function since(ms, say = age) {
  const element = make("time");
  element.say = say;
  setSince(element, ms);
  return element;
}

export function setSince(element, ms) {
  if (element.dataset.since === String(ms)) return;
  element.dataset.since = ms;
  element.dateTime = new Date(ms).toISOString();
  element.title = moment(ms);
  setText(element, element.say(now() - ms));
}

export function tickAges() {
  for (const element of document.querySelectorAll("time[data-since]")) setText(element, element.say(now() - element.dataset.since));
}

/** Makes the children of a list those of `rows`, in their order, and keeps those that are there. */
export function keyed(list, rows, key, create, update) {
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
export function filled(element, from, fill) {
  const text = JSON.stringify(from);
  if (element.dataset.from === text) return;
  element.dataset.from = text;
  const had = element.contains(document.activeElement) && document.activeElement.dataset.focus;
  element.replaceChildren(...fill());
  if (!had) return;
  const again = element.querySelector(`[data-focus="${CSS.escape(had)}"]`) ?? element.closest("#locks > li")?.head;
  again?.focus({ preventScroll: true });
}

/** Who it is, in two lines at most. An address is never that long, and its end matters. */
export function callerElement(id) {
  const text = caller(id);
  return named(session(id)) ? make("span", { className: "two", title: text }, text) : text;
}

/** What is known of a session beside its name, with a dot between each two. */
export function about(id, ...more) {
  const { peer, via, wire, note, expiresAt, restored, idleSince, waitsFor } = session(id);
  const words = [`session ${id}`, wire && WIRES[wire], named(session(id)) && peer, via && `via ${via}`];
  words.push(note && `“${note}”`, expiresAt && leased(expiresAt, restored), ...more);
  const line = words.filter(Boolean).flatMap((word, at) => (at ? [" · ", word] : [word]));
  if (idleSince && !waitsFor) line.push(since(idleSince, (ms) => quiet(ms) && ` · ${quiet(ms)}`));
  return line;
}

/** A button that does something with a session or a lock. */
export function button(className, text, focus, act) {
  const element = make("button", { type: "button", className }, text);
  element.dataset.focus = focus;
  element.addEventListener("click", act);
  return element;
}

let saying = 0;

/** Says something for a moment, to those who see and to those who hear. */
export function say(text) {
  setText($("said"), text);
  clearTimeout(saying);
  saying = setTimeout(() => setText($("said"), ""), 8000);
}

/** Nothing can be ended while the server is not heard. */
export function enableEnding() {
  for (const element of document.querySelectorAll("button.danger")) element.disabled = page.lostAt != null;
}
