"use strict";
// What the server says without being asked, once that is wanted: events of locks, as lines that begin with `*`.

const MOST_EVENTS = 1000; // that nobody has read; then the network holds the rest back
const FIELD = / ([a-z_]+)=('(?:[^'\\]|\\.|'')*'|[^' ]*)/gs;
const ESCAPED = /\\u\{([0-9a-fA-F]{1,6})\}|\\(.)|''/gs;
const CONTROLS = { n: "\n", r: "\r", t: "\t", b: "\b", 0: "\0", Z: "\x1a" };
const WATCHED = ["taken", "freed", "lost", "missed"]; // those of servers to come are not known here

/** A string as the server writes it, bare or in quotes. */
function plain(value) {
  if (value.length < 2 || !value.startsWith("'") || !value.endsWith("'")) return value;
  return value.slice(1, -1).replace(ESCAPED, (_, code, letter) => {
    if (code) return Number.parseInt(code, 16) < 0x110000 ? String.fromCodePoint(Number.parseInt(code, 16)) : "\ufffd";
    return letter ? CONTROLS[letter] ?? letter : "'";
  });
}

function numberOf(text) {
  const number = /^\d+(\.\d+)?$/.test(text ?? "") ? Number(text) : null;
  return number <= Number.MAX_SAFE_INTEGER ? number : null;
}

/** Of a line that begins with `*`. */
function eventIn(line) {
  const [, word, rest] = /^\* (\S*)(.*)$/s.exec(line) ?? [null, "", ""];
  const fields = [...rest.matchAll(FIELD)].map(([, key, value]) => [key, plain(value)]);
  return eventOf(word.toLowerCase(), Object.fromEntries(fields));
}

function eventOf(kind, fields) {
  return {
    kind,
    name: fields.name ?? null,
    session: numberOf(fields.session),
    mode: fields.mode ?? null,
    fencingToken: numberOf(fields.fencing_token),
    held: numberOf(fields.held),
    cause: fields.cause ?? null,
    waiters: numberOf(fields.waiters),
    count: numberOf(fields.count),
    fields,
  };
}

/**
 * What happens to the locks whose names begin with a prefix: an async iterable of events. `connect(tell)` resolves to a
 * connection, which calls `tell` with each event, and whose `over` resolves to why it has ended. One that breaks is
 * made again, and a `missed` event without a `count` says so.
 */
class Watch {
  #connect;
  #isFinal;
  #connection = null;
  #events = [];
  #wakers = [];
  #failure = null;
  #isClosed = false;

  constructor(connect, isFinal) {
    this.#connect = () => connect((event) => this.#happened(event));
    this.#isFinal = isFinal;
  }

  /** Resolves when the server watches. */
  async begin(signal) {
    this.#connection = await this.#connect();
    const stop = () => this.#fail(signal.reason);
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    this.#run().catch((error) => this.#fail(error)).finally(() => signal?.removeEventListener("abort", stop));
    return this;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next() {
    for (;;) {
      if (this.#isClosed) return { value: undefined, done: true };
      if (this.#events.length > 0) {
        if (this.#events.length <= MOST_EVENTS) this.#connection.resume();
        return { value: this.#events.shift(), done: false };
      }
      if (this.#failure) throw this.#failure.error;
      await new Promise((resolve) => this.#wakers.push(resolve));
    }
  }

  /** The end of a loop by `break` comes here. */
  async return() {
    this.close();
    return { value: undefined, done: true };
  }

  /** Ends the loop. */
  close() {
    this.#isClosed = true;
    this.#connection.close();
    this.#wake();
  }

  async #run() {
    for (;;) {
      const error = await this.#connection.over;
      if (this.#isClosed || this.#failure) return;
      this.#happened(eventOf("missed", {}));
      if (this.#isFinal(error)) throw error;
      this.#connection = await this.#connect();
      if (this.#isClosed || this.#failure) this.#connection.close();
    }
  }

  #happened(event) {
    if (!WATCHED.includes(event.kind)) return;
    this.#events.push(event);
    if (this.#events.length > MOST_EVENTS) this.#connection?.pause();
    this.#wake();
  }

  #fail(error) {
    this.#failure ??= { error };
    this.#connection.close();
    this.#wake();
  }

  #wake() {
    this.#wakers.splice(0).forEach((resolve) => resolve());
  }
}

module.exports = { Watch, eventIn, plain };
