// What comes from the server: scenes, its clock, and its silence.
import { $, page } from "./state.js";
import { enableEnding, setText } from "./elements.js";
import { age, time } from "./words.js";

const SILENCE = 40_000; // longer than the server is ever silent

let source = null;
let tried = 0;
let watching = 0;

export function listen() {
  source?.close();
  const query = new URLSearchParams({ ...(page.found && { find: page.found }), ...(page.sort !== "blocked" && { sort: page.sort }) });
  source = new EventSource(`events${String(query) && `?${query}`}`);
  page.heard = Date.now();
  source.addEventListener("clock", ({ data }) => {
    page.heard = Date.now();
    page.ahead = Number(data) - page.heard;
  });
  source.addEventListener("scene", ({ data }) => {
    const before = page.scene;
    page.heard = Date.now();
    page.scene = JSON.parse(data);
    if (before && before.startedAt !== page.scene.startedAt) restarted(page.scene.startedAt);
    setState(page.scene.stopping ? "stopping" : "live");
    page.draw();
  });
  source.addEventListener("open", () => {
    page.heard = Date.now();
    if (!page.scene || !page.lostAt) return;
    setState("live");
    page.draw();
  });
  source.addEventListener("error", lost);
}

/** The browser tries again by itself, unless it was answered something else, or hears nothing. */
function watch() {
  const isSilent = Date.now() - page.heard > SILENCE;
  if (isSilent) lost();
  if ((source.readyState === EventSource.CLOSED || isSilent) && Date.now() - tried > 5000) {
    tried = Date.now();
    listen();
  }
  if (page.lostAt) notice(`Disconnected ${age(Date.now() - page.lostAt)} ago; this page shows the state at that time. Reconnecting ...`);
}

/** Hears nothing more, and asks for nothing. */
export function leave() {
  clearInterval(watching);
  source.close();
}

const STATES = {
  live: "live",
  stopping: "stopping: sessions that hold locks may finish, nothing new is granted",
  lost: "disconnected, reconnecting",
};

function setState(state) {
  $("state").dataset.state = state;
  setText($("state"), STATES[state]);
  if (state !== "lost") {
    page.lostAt = null;
    notice("");
  }
  enableEnding();
  setTitle();
}

export function setTitle() {
  const waiters = page.scene?.totals.waiters;
  const what = page.lostAt ? "(lost) " : waiters ? `(${waiters}) ` : "";
  document.title = `${what}getlockd`;
}

function lost() {
  if (page.lostAt) return;
  page.lostAt = page.heard;
  setState("lost");
  if (page.scene) page.draw();
}

function notice(text) {
  $("notice").hidden = !text;
  setText($("notice"), text);
}

/** Stays until somebody has read it. */
function restarted(at) {
  setText($("restarted-text"), `The server restarted at ${time(at)}. All locks held before are gone.`);
  $("restarted").hidden = false;
}

export function wireStream() {
  watching = setInterval(watch, 1000);
  $("dismiss").addEventListener("click", () => ($("restarted").hidden = true));
}
