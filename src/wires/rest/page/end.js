// Ending a session: the question, with all that is known of it, and what came of it.
import { $, heldBy, now, page, session, url } from "./state.js";
import { button, filled, make, say, setText } from "./elements.js";
import { age, blockedBy, called, many, named, quiet, WIRES } from "./words.js";

export function endButton(id) {
  const element = button("danger", `End ${id}`, `end-${id}`, () => ask(id));
  element.setAttribute("aria-label", `End ${called(id)}`);
  element.disabled = page.lostAt != null;
  return session(id).mayEnd === false ? null : element;
}

export function ask(id) {
  if (page.lostAt) return say("Disconnected: no session can be ended from here now.");
  if (session(id).mayEnd === false) return say(`You may not end ${called(id)}.`);
  page.ending = id;
  $("end-reason").value = "";
  describeEnd();
  if (!$("end").open) $("end").showModal();
}

export function describeEnd() {
  const id = page.ending;
  const told = page.scene.sessions[id];
  const locks = heldBy(id);
  setText($("end-title"), `End session ${id}?`);
  setText($("end-who"), told ? who(told) : "This session has ended, or no longer holds or waits for anything.");
  setText($("end-known"), told ? known(id, told) : "");
  $("end-do").disabled = !told || page.lostAt != null;
  filled($("end-locks"), [locks, id], () => locks.slice(0, 8).map((lock) => make("li", {}, make("span", { className: "name" }, lock.name), ` ${next(lock)}`)));
  const rest = (told?.holds ?? 0) - Math.min(locks.length, 8);
  const words = [rest > 0 && `${many(rest, "more lock")} that it holds will be released.`, told?.waitsFor && `It stops waiting for ${told.waitsFor}.`];
  setText($("end-note"), words.filter(Boolean).join(" "));
}

const who = (told) => `${named(told) ? `${named(told)} at ` : ""}${told.peer} (${WIRES[told.wire] ?? told.wire})`;

function known(id, { note, idleSince, startedAt, waitsFor }) {
  const blocked = blockedBy(id);
  const words = [
    note && `“${note}”`,
    `connected for ${age(now() - startedAt)}`,
    idleSince && !waitsFor && quiet(now() - idleSince),
    blocked && `blocks ${many(blocked, "session")}`,
  ];
  return words.filter(Boolean).join(" · ");
}

function next({ held, queue, waiters }) {
  if (held.length > 1) return `stays with ${many(held.length - 1, "other holder")}.`;
  if (!waiters) return "will be released; no one is waiting.";
  if (!queue.length) return `passes on; ${waiters} are waiting.`;
  return `passes to ${called(queue[0].session)}, waiting for ${age(now() - queue[0].waitsSince)}.`;
}

async function end(id, reason) {
  const name = called(id);
  const request = { method: "POST", credentials: "same-origin" };
  if (reason) Object.assign(request, { headers: { "content-type": "application/json" }, body: JSON.stringify({ reason }) });
  try {
    const answer = await fetch(url(`api/session/${id}/kill`), request);
    const told = await answer.json().catch(() => ({}));
    say(answer.ok ? `${name} has ended; its locks were released.` : `${name} was not ended: ${told.message ?? answer.statusText}`);
  } catch {
    say(`Could not reach the server; ${name} may or may not have ended.`);
  }
}

export function wireEnd() {
  const dialog = $("end");
  // Not at `close`: that event comes later, when the next question may already be open.
  dialog.querySelector("form").addEventListener("submit", ({ submitter }) => {
    if (submitter === $("end-do")) end(page.ending, $("end-reason").value.trim());
  });
  dialog.addEventListener("keydown", (event) => {
    const isReason = event.target === $("end-reason");
    if (isReason && event.key === "Enter" && !event.isComposing) {
      // A reason is written; to end the session takes another key.
      event.preventDefault();
      $("end-do").focus();
    } else if (!isReason && event.key === "y" && $("shortcuts").checked && !$("end-do").disabled) {
      event.preventDefault();
      $("end-do").click();
    }
  });
}
