// How the page says things: numbers, times and who somebody is.
import { now, page, session } from "./state.js";

const two = (number) => String(number).padStart(2, "0");

export const count = (number) => number.toLocaleString("en");
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

export function age(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor(s / 60) % 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

const QUIET = 30_000; // not worth a word

/** For how long a client has sent no command, if that says something. */
export function quiet(ms) {
  if (ms < QUIET) return "";
  return ms < 3_600_000 && ms >= 60_000 ? `quiet for ${Math.floor(ms / 60_000)} min` : `quiet for ${age(ms)}`;
}

export function moment(ms) {
  const at = new Date(ms);
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** The time of day; with the date if that is another. */
export function time(ms) {
  const [date, clock] = moment(ms).split(" ");
  return date === moment(now()).split(" ")[0] ? clock : `${date} ${clock}`;
}

/** Until when a lease runs, and whether nobody has renewed it since the server restarted. */
export function leased(expiresAt, restored) {
  const until = `lease until ${moment(expiresAt).slice(11)}`;
  return restored ? `${until} (restored, not heard of since)` : until;
}

/** What a session calls itself, and the user it logged in as if that is another name. */
export const named = ({ client, user }) => (client && user && client !== user ? `${client} (user ${user})` : client || user);
export const caller = (id) => named(session(id)) || session(id).peer || `session ${id}`;
export const called = (id) => `session ${id}` + (named(session(id)) || session(id).peer ? ` (${caller(id)})` : "");

export const WIRES = { line: "line protocol", mysql: "MySQL protocol", http: "HTTP", grpc: "gRPC" };

/** How many sessions one holds up, where the server has said it. */
export const blockedBy = (id) => page.scene.blockers.find((one) => String(one.session) === String(id))?.blocked ?? 0;

/** Why a hold ended. */
export const CAUSES = {
  release: "released",
  disconnect: "its connection ended",
  killed: "its session was killed",
  expired: "its lease expired",
  shutdown: "the server stopped",
  idle: "it was idle for too long",
  reset: "its session was reset",
  revoked: "its user lost access",
  handed_back: "its client never received the grant",
};
