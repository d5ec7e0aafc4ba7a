// What the page knows and what it shows: one object, which all parts of the page read.

const query = new URLSearchParams(location.search);

export const page = {
  scene: null, // the last that came from the server
  ahead: 0, // the server's clock before ours
  heard: Date.now(), // when the server was last heard
  lostAt: null, // when the connection was lost, if it is
  found: query.get("find") ?? "",
  sort: query.get("sort") ?? "blocked",
  open: null, // the name of the lock that is open
  current: null, // the name of the lock where the keys are
  ending: null, // the session that is asked about
  left: false, // whether the user has logged out
  pasts: [], // the last holders of the open lock
};

export const $ = (id) => document.getElementById(id);

/** The server's time; while it is not heard, that of its last words. */
export const now = () => (page.lostAt ?? Date.now()) + page.ahead;

/** Whether the scene is that of an earlier moment, because the server is not heard. */
export const isOld = () => page.lostAt != null;

export const session = (id) => page.scene?.sessions[id] ?? {};

/** All locks of the scene: those that match, and those that they lead to. */
export const allLocks = () => (page.scene ? [...page.scene.locks, ...page.scene.chain] : []);
export const lockOf = (name) => allLocks().find((lock) => lock.name === name);
export const isMatching = (name) => page.scene.locks.some((lock) => lock.name === name);

/** The locks of the scene that a session holds. */
export const heldBy = (id) => allLocks().filter(({ held }) => held.some((hold) => String(hold.session) === String(id)));

/** The address of something beside the page, without a password that the address of the page may have. */
export const url = (path) => new URL(path, location.origin + location.pathname).href;
