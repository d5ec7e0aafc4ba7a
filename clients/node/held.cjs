"use strict";
// What getlock.cjs is built on: errors, the check of arguments, the clock, and a lock that is held.

const { setMaxListeners } = require("node:events");
const os = require("node:os");
const path = require("node:path");
const { inspect } = require("node:util");

const ANSWER_TIME = 10; // seconds that the server may take to answer a command that does not wait
const LONGEST_TIMER = 2_000_000; // seconds; a timer of Node takes no more
const LOOK_EVERY = 1; // seconds between looks at the clock: timers stand still while the machine sleeps
const MOST_NAMES = 64; // of one request
const LONGEST_TEXT = 256; // characters of the name or the note of a client
const ASYNC_DISPOSE = Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose"); // `await using` is newer than Node 18

// ---------------------------------------------------------------------------------------------- errors

/** The server refused. `symbol` is for programs, such as "BAD_NAME"; the message is for people. */
class Refused extends Error {
  constructor(symbol, text) {
    super(text);
    this.symbol = symbol;
  }
}

/** The lock is gone. `symbol` is the server's reason; null if the connection broke or time ran out. */
class Lost extends Refused {}

/** Others held the lock until the timeout was over. */
class NotGranted extends Error {
  constructor(name, timeout, inTheWay = [name].flat()[0]) {
    const names = [name].flat();
    const held = names.length > 1 ? shown(inTheWay) : "it";
    const what = `${listed(names)} was not granted within ${timeout} s`;
    super(`${what}: others hold ${held}. Wait longer, or ask WHY who they are`);
    this.code = "ETIMEDOUT";
    this.inTheWay = inTheWay;
  }
}

for (const kind of [Refused, Lost, NotGranted]) {
  Object.defineProperty(kind.prototype, "name", { value: kind.name, configurable: true, writable: true });
}

/** An answer over HTTP that is not one of getlockd. Another one would be the same. */
class Odd extends Error {}

/** The error of a server that gave no answer that makes sense. */
function away(where, error) {
  const why = error.message || error.code; // of several addresses that were tried there is a code alone
  const text = `${where} cannot be used: ${why}. Check that getlockd listens there, with TLS if you use TLS`;
  return Object.assign(new Error(text, { cause: error }), { code: error.code });
}

const startOf = (text) => JSON.stringify(text.trim().slice(0, 80));

/** Nobody need be waiting for it when it rejects. */
function quietly(promise) {
  promise.catch(() => {});
  return promise;
}

/** Puts `lost` behind `error`, as the cause of what has no cause yet. */
function addCause(error, lost) {
  const seen = new Set();
  let last = error;
  while (last instanceof Error && last.cause !== undefined && !seen.has(last)) {
    seen.add(last);
    last = last.cause;
  }
  if (last === lost || !(last instanceof Error) || last.cause !== undefined || !Object.isExtensible(last)) return;
  Object.defineProperty(last, "cause", { value: lost, configurable: true, writable: true });
}

// ------------------------------------------------------------------------------------------- arguments

const isNumber = (value) => typeof value === "number" && !Number.isNaN(value);

/** Half of a surrogate pair would be sent as a replacement character, and so become the name of another lock. */
const isText = (value) => typeof value === "string" && !/\p{Surrogate}/u.test(value);

const kinds = {
  function: { fits: (value) => typeof value === "function", is: "a function" },
  limit: { fits: (value) => Number.isInteger(value) && value > 0 && value < 65536, is: "a number from 1 to 65535" },
  boolean: { fits: (value) => typeof value === "boolean", is: "true or false" },
  port: { fits: (value) => Number.isInteger(value) && value > 0 && value < 65536, is: "from 1 to 65535" },
  signal: { fits: (value) => typeof value?.aborted === "boolean", is: "an AbortSignal" },
  span: { fits: (value) => isNumber(value) && value >= 0, is: "a number of seconds, not below 0" },
  string: { fits: isText, is: "a string, of whole characters" },
  strings: {
    fits: (value) => isText(value) || (Array.isArray(value) && value.length > 0 && value.every(isText)),
    is: "a string, of whole characters, or an array of some",
  },
  timeout: { fits: isNumber, is: "a number of seconds" },
  shown: {
    fits: (value) => isText(value) && [...value].length <= LONGEST_TEXT,
    is: `a string of at most ${LONGEST_TEXT} characters`,
  },
  tls: { fits: (value) => value === true || isPlain(value), is: "true, or an object of options of tls.connect" },
};

function shown(value) {
  if (typeof value === "string") return JSON.stringify(value);
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

const listed = (names) => names.map(shown).join(", ");

/** Whether it is an object of options. The fields of other objects need not be their own, and would be overlooked. */
function isPlain(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const parent = Object.getPrototypeOf(value);
  return parent === null || Object.getPrototypeOf(parent) === null;
}

/** Throws a TypeError for what is of a wrong type, or misspelt. */
function checkOptions(call, options, known) {
  const keys = Object.keys(known).join(", ");
  if (!isPlain(options)) throw new TypeError(`${call} takes an object of options (${keys}), not ${shown(options)}`);
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, key)) throw new TypeError(`${call} has no option ${key}. Its options are ${keys}`);
    if (value == null || known[key].fits(value)) continue;
    throw new TypeError(`the option ${key} of ${call} is ${known[key].is}, not ${shown(value)}`);
  }
}

/** The names of a request: of one lock, or of an array of them, each once. */
function namesOf(name) {
  const names = [...new Set(Array.isArray(name) ? name : [name])];
  names.forEach(checkName);
  if (names.length > 0 && names.length <= MOST_NAMES) return names;
  throw new RangeError(`a request is for 1 to ${MOST_NAMES} locks; this one is for ${names.length}`);
}

function checkName(name) {
  if (isText(name)) return;
  if (typeof name === "string") throw new TypeError(`the name ${shown(name)} has half of a surrogate pair`);
  throw new TypeError(`the name of a lock is a string, not ${shown(name)}. Write acquire("nightly", { timeout: 10 })`);
}

function checkMode(names, { shared, limit }) {
  if (limit == null || (!shared && names.length === 1)) return;
  throw new TypeError("a permit is not shared, and is of one lock: leave out shared, the other names, or limit");
}

/**
 * What the lists of the server show of this client: `{ name, note }`. By default the name is `user@host[pid] program`,
 * never with arguments, since these may be secret.
 */
function identityOf(call, { name, note }) {
  if (name === "" && note != null) throw new TypeError(`the note of ${call} needs a name: leave one of the two out`);
  return { name: name ?? ownName(), note: note ?? undefined };
}

function ownName() {
  let user = String(process.getuid?.() ?? "unknown");
  try {
    user = os.userInfo().username;
  } catch {
    // A container may know no name for its user.
  }
  const program = path.basename(process.argv[1] ?? process.execPath);
  const name = `${user}@${os.hostname()}[${process.pid}] ${program}`;
  return [...name.replace(/\p{Surrogate}/gu, "?")].slice(0, LONGEST_TEXT).join("");
}

/** None, a negative number, and what is longer than 30 years are forever. */
const patienceOf = (timeout) => (timeout == null || timeout < 0 || timeout > 1e9 ? Infinity : timeout);

// ----------------------------------------------------------------------------------------------- clock

/** On these, performance.now() stands still while the machine sleeps, and os.uptime() goes on and has fractions. */
const UPTIME_KNOWS_MORE = ["linux", "win32"].includes(process.platform);
let lead = -Infinity;

/**
 * Seconds of a clock that counts the time in which the machine sleeps. os.uptime() does, in steps that make it late by
 * up to 10 ms. Its greatest lead over the other clock is the truest. As the lead only grows, no span is too short.
 */
function now() {
  const awake = performance.now() / 1000;
  lead = Math.max(lead, UPTIME_KNOWS_MORE ? os.uptime() - awake : 0);
  return awake + lead;
}

/** Seconds. Pauses grow, and differ, so that not all who lost a server come back in one moment. */
const pauseAfter = (attempts) => Math.min(2, 0.05 * 2 ** attempts) * (0.5 + Math.random() / 2);

/**
 * What `work` resolves to: something held. When `signal` fires it rejects at once. Then `leave` is called, and what
 * is granted all the same is released.
 */
function unless(signal, work, leave) {
  if (!signal) return work;
  if (signal instanceof EventTarget) setMaxListeners(0, signal); // many waits of one signal are no leak
  return new Promise((resolve, reject) => {
    const stop = () => {
      leave();
      reject(signal.reason);
      work.then((held) => held.release?.(), () => {});
    };
    const settle = (end) => (value) => {
      signal.removeEventListener("abort", stop);
      end(value);
    };
    signal.addEventListener("abort", stop, { once: true });
    work.then(settle(resolve), settle(reject));
  });
}

// ------------------------------------------------------------------------------- what is held, and locks

/**
 * A lock that is held. It is held by a wire: `ask` asks the server for more time, `free` resolves to whether the lock
 * was freed, `close` gives it up. The wire calls `onsure` with each promise of the server, and `onover` when the lock
 * is gone. A promise tells when it was asked for (`sent`), `until` when the lock surely is held, and how often to ask.
 * If the lock is freed by the end of the wire, a promise also tells when others can have the lock (`openUntil`), and
 * `leave` stops the use of the wire.
 */
class Held {
  #losing = new AbortController();
  #wire;
  #until = Infinity;
  #every = Infinity;
  #openUntil;
  #askAt = Infinity;
  #timer = null;
  #released = null;
  #isOver = false;

  constructor(facts, wire) {
    Object.assign(this, facts);
    this.#wire = wire;
    wire.onsure = (promise) => this.#extend(promise);
    wire.onover = (symbol, text) => this.#lose(symbol, text);
    this.#extend(wire.promise);
  }

  /**
   * An AbortSignal that fires as soon as the lock is lost. Its reason is the `Lost`. Asked for afresh it is exact, even
   * if no timer could run.
   */
  get lost() {
    this.#look();
    return this.#losing.signal;
  }

  /** The `Lost`, or null while the lock is not lost. */
  get why() {
    return this.lost.reason ?? null;
  }

  /** Whether the lock is held now. It looks at the clock itself. */
  held() {
    this.#look();
    return !this.#isOver && !this.#released;
  }

  /** Frees the lock. Resolves to true if the lock was held until now, to false if it had been lost. */
  release() {
    this.#released ??= this.#free();
    return this.#released;
  }

  /** The end of `await using`: frees the lock, and rejects with `Lost` if it had been lost. */
  async [ASYNC_DISPOSE]() {
    if (!(await this.release())) throw this.why;
  }

  async #free() {
    this.#look();
    if (this.#isOver) {
      this.#end();
      return false;
    }
    const isFreed = await this.#wire.free();
    if (isFreed) this.#end();
    return isFreed;
  }

  /** What the console shows. */
  [inspect.custom]() {
    const session = this.session === undefined ? "" : ` session=${this.session}`;
    const facts = `${session} fencingToken=${this.fencingToken} held=${this.held()}`;
    return `${this.constructor.name} ${listed(this.names)}${facts}`;
  }

  #look() {
    if (this.#isOver || now() < this.#until) return;
    const others = `others may be granted ${shown(this.name)}`;
    this.#lose(null, `no answer of the server came in time: ${others}. Stop, and take it again`, this.#openUntil);
  }

  /** A promise that comes when the last one has run out does not bring the lock back. */
  #extend({ sent, until, every, openUntil }) {
    this.#look();
    if (this.#isOver) return;
    this.#until = until;
    this.#every = every;
    this.#openUntil = openUntil;
    this.#askAt = sent + every;
    this.#tick();
  }

  #tick() {
    clearTimeout(this.#timer);
    this.#look();
    if (this.#isOver || this.#until === Infinity) return;
    const time = now();
    const isDue = time >= this.#askAt;
    if (isDue) this.#askAt = time + this.#every;
    const pause = Math.min(LOOK_EVERY, this.#until - time, this.#askAt - time);
    this.#timer = setTimeout(() => this.#tick(), Math.max(1, pause * 1000));
    if (this.#wire.keepsProcess) this.#timer.unref();
    if (isDue) this.#wire.ask();
  }

  #lose(symbol, text, openUntil) {
    if (this.#isOver) return;
    this.#end(openUntil);
    this.#losing.abort(new Lost(symbol, text));
  }

  /** Closes the wire: at once, or when others can have the lock if nobody has released it before. */
  #end(openUntil = -Infinity) {
    this.#isOver = true;
    clearTimeout(this.#timer);
    const rest = openUntil - now();
    if (this.#released || rest <= 0) return this.#wire.close();
    this.#wire.leave();
    const pause = Math.min(LOOK_EVERY, rest);
    this.#timer = setTimeout(() => this.#end(openUntil), Math.max(1, pause * 1000)).unref();
  }
}

/** What GetLock and Leases have in common. */
class Locks {
  /** As `acquire`, without waiting. Resolves to null if others hold the lock. */
  async tryLock(name, options = {}) {
    if (options?.timeout != null) {
      throw new TypeError("tryLock has no option timeout: it does not wait. Call acquire to wait");
    }
    try {
      return await this.acquire(name, isPlain(options) ? { ...options, timeout: 0 } : options);
    } catch (error) {
      if (error instanceof NotGranted) return null;
      throw error;
    }
  }

  /**
   * Runs `body(guard)` while the lock is held, and resolves to its result. The body does not run without the lock.
   * When the lock is lost meanwhile, `lock` waits for the end of the body and rejects with `Lost`. An error of the
   * body itself comes first, with `Lost` as its cause. The option `signal` ends the wait alone. While the body runs,
   * the lock is freed when the body ends: give the signal to the body's work too.
   */
  async lock(name, options, body) {
    if (typeof options === "function" && body === undefined) return this.lock(name, {}, options);
    if (typeof body !== "function") {
      throw new TypeError('lock takes a function. Write lock("nightly", { timeout: 10 }, async (guard) => { ... })');
    }
    const guard = await this.acquire(name, options);
    let result;
    try {
      options?.signal?.throwIfAborted();
      result = await body(guard);
    } catch (error) {
      if (!(await guard.release())) addCause(error, guard.why);
      throw error;
    }
    if (!(await guard.release())) throw guard.why;
    return result;
  }
}

module.exports = {
  ANSWER_TIME, Held, LONGEST_TIMER, LOOK_EVERY, Locks, Lost, NotGranted, Odd, Refused, addCause, away, checkMode,
  checkName, checkOptions, identityOf, kinds, namesOf, now, patienceOf, pauseAfter, quietly, startOf, unless,
};
