// The live page. It shows what comes from /events; each part of it is a file beside this one.
import { $, lockOf, now, page } from "./state.js";
import { enableEnding, setText, tickAges } from "./elements.js";
import { drawCluster } from "./cluster.js";
import { ask, describeEnd, wireEnd } from "./end.js";
import { drawLocks, narrow, rowOf, settle, step, toggle, wireLocks } from "./locks.js";
import { drawLogin, wireLogin } from "./login.js";
import { drawSessions, wireSessions } from "./sessions.js";
import { listen, setTitle, wireStream } from "./stream.js";
import { drawBlockers, drawWaits, stepBox, wireWaits } from "./waits.js";
import { age, count } from "./words.js";

page.draw = () => {
  const { totals, version } = page.scene;
  setText($("version"), version);
  for (const what of ["locks", "waiters", "sessions"]) setText($(`total-${what}`), count(totals[what]));
  for (const what of ["lock", "session"]) setText($(`total-${what}s`).previousElementSibling, totals[`${what}s`] === 1 ? what : `${what}s`);
  setTitle();
  drawLogin();
  drawBlockers();
  drawLocks();
  drawSessions();
  drawWaits();
  drawCluster();
  if ($("end").open) describeEnd();
  enableEnding();
};

/** Looks for something else. What was open is not part of it, unless it is opened again. */
page.seek = (text) => {
  page.found = text.trim();
  page.open = null;
  if ($("find").value.trim() !== page.found) $("find").value = page.found;
  remember();
};

/** Keeps in the address what is shown, and asks for it. */
function remember() {
  const query = new URLSearchParams({ ...(page.found && { find: page.found }), ...(page.sort !== "blocked" && { sort: page.sort }) });
  window.history.replaceState(null, "", `${location.pathname}${String(query) && `?${query}`}`);
  listen();
}

function tick() {
  tickAges();
  if (page.scene && !page.left) setText($("uptime"), age(now() - page.scene.startedAt));
}

/** On a small screen the first thing is who waits for whom. */
function arrange() {
  const waits = $("waits-part");
  if (narrow.matches) document.querySelector("main").prepend(waits);
  else document.querySelector(".beside").prepend(waits);
}

// ---- Keys

function onKey(event) {
  if (page.left || event.ctrlKey || event.altKey || event.metaKey || event.isComposing || document.querySelector("dialog[open]")) return;
  const { key, target } = event;
  const isTyping = target.matches("input, select");
  if (key === "Escape") {
    event.preventDefault(); // a browser clears the field by itself
    return escape(isTyping);
  }
  if (isTyping && (key !== "ArrowDown" || target.matches("select"))) return;
  const move = target.closest("#graph") ? stepBox : step;
  const act = { ArrowDown: () => move(1), ArrowUp: () => move(-1) }[key] ?? ($("shortcuts").checked && letters[key]);
  if (!act) return;
  event.preventDefault();
  act();
}

const letters = {
  j: () => step(1),
  k: () => step(-1),
  x: () => lockOf(page.current)?.held.length && ask(lockOf(page.current).held[0].session),
  "/": () => ($("find").focus(), $("find").select()),
  "?": () => $("help").showModal(),
};

function escape(isTyping) {
  if (page.open != null && !isTyping) {
    const name = page.open;
    toggle(name);
    settle(rowOf(name) ? name : page.current, true);
    return;
  }
  clearTimeout(typing);
  $("find").value = "";
  if (page.found) page.seek("");
  if (!isTyping) return;
  // The letters are keys again.
  $("find").blur();
  step(0);
}

// ---- The start

let typing = 0;
$("find").value = page.found;
$("find").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => page.seek($("find").value), 250);
});
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  if ($("find").value.trim() !== page.found) page.seek($("find").value);
  step(0);
});
$("sort").value = page.sort;
$("sort").addEventListener("change", () => {
  page.sort = $("sort").value;
  remember();
});
$("keys").addEventListener("click", () => $("help").showModal());
for (const wire of [wireEnd, wireLocks, wireLogin, wireSessions, wireStream, wireWaits]) wire();
document.addEventListener("keydown", onKey);
narrow.addEventListener("change", arrange);
arrange();
document.documentElement.classList.add("running");
setInterval(tick, 1000);
listen();
