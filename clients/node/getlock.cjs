"use strict";
// Locks of getlockd, by its line protocol. Copy this file: it needs Node 18 and nothing else; it can be
// had by `require` and by `import`.
//
//     const locks = new GetLock({ host: "127.0.0.1", port: 3305 });
//     const done = await locks.lock("nightly", 10, async (guard) => {
//       await fetch(url, { signal: guard.lost, headers: { "X-Token": guard.token } });
//       return true;
//     });
//     if (done === null) console.log("somebody else has it");
//
// Each guard has a connection of its own. `guard.lost` is an AbortSignal; it fires as soon as the lock
// is lost, with a `Lost` as its reason. Work whose lock was lost rejects with `Lost`, unless it rejects
// by itself.

const net = require("node:net");
const tls = require("node:tls");

const ANSWER_TIME = 10; // seconds that the server may take for what does not wait

/** What the server answered as ERROR: `symbol` is for programs, the message for people. */
class Refused extends Error {
  constructor(symbol, text) {
    super(text);
    Object.assign(this, { name: this.constructor.name, symbol });
  }
}

/** The lock is gone. `symbol` is the reason that the server gave, null if the connection broke. */
class Lost extends Refused {}

/** A server. `tls` are options of `tls.connect`; a server that is away is tried for `retry` seconds. */
class GetLock {
  constructor({ host = "127.0.0.1", port = 3305, user, password = "", tls = null, retry = 30 } = {}) {
    this.server = { host, port, tls, hello: user ? `AUTH ${quoted(user)} ${quoted(password)}` : "PING" };
    this.retry = retry;
  }

  /**
   * Runs `work(guard)` and resolves to what it returns; to null if the lock was not granted within
   * `timeout` seconds. -1 waits for ever. Without `work` it resolves to the guard, to be released.
   */
  lock(name, timeout, work) {
    return this.#hold("GET_LOCK", quoted(name), timeout, work);
  }

  /** As `lock`, beside others that share it. */
  sharedLock(name, timeout, work) {
    return this.#hold("GET_SHARED_LOCK", quoted(name), timeout, work);
  }

  async #hold(verb, name, timeout, work) {
    const guard = await this.#take(verb, name, timeout);
    if (!guard || !work) return guard;
    let result;
    try {
      result = await work(guard);
    } catch (error) {
      await guard.release();
      throw error;
    }
    if (!(await guard.release())) throw guard.lost.reason;
    return result;
  }

  /** Nothing is held yet, so a wait that breaks may connect and queue again. */
  async #take(verb, name, timeout) {
    const deadline = timeout < 0 ? Infinity : now() + timeout;
    for (let attempt = 0, awaySince = now(); ; attempt++) {
      let connection = null;
      try {
        connection = await Connection.open(this.server);
        const left = timeout < 0 ? -1 : Math.max(0, deadline - now());
        const patience = timeout < 0 ? Infinity : left + ANSWER_TIME;
        if ((await connection.ask(`${verb} ${name} ${left.toFixed(3)}`, patience)) === "1") {
          return new Guard(connection, name, Number(await connection.ask(`FENCING_TOKEN ${name}`)));
        }
        connection.close();
        return null;
      } catch (error) {
        if (connection) awaySince = now();
        connection?.close();
        const pause = Math.min(2, 0.05 * 2 ** attempt) * (0.5 + Math.random() / 2);
        const passes = !(error instanceof Refused) || ["SHUTDOWN", "LIMIT"].includes(error.symbol);
        if (!passes || now() + pause > Math.min(deadline, awaySince + this.retry)) throw error;
        await new Promise((resolve) => setTimeout(resolve, pause * 1000));
      }
    }
  }
}

/** A lock that is held. `token` is its fencing token, `lost` an AbortSignal. */
class Guard {
  #connection;
  #name;
  #ended;
  #releasing = false;

  constructor(connection, name, token) {
    const controller = new AbortController();
    Object.assign(this, { token, lost: controller.signal });
    this.#connection = connection;
    this.#name = name;
    // The next line is the answer to a release, or the reason of the end, or the end.
    this.#ended = connection.next().then(
      (line) => (this.#releasing && line === "1") || (controller.abort(new Lost(null, line)), false),
      (error) => (controller.abort(new Lost(error.symbol ?? null, error.message)), false),
    );
  }

  /** Frees the lock. Resolves to true if it was held until now, to false if it had been lost. */
  async release() {
    if (!this.#releasing && !this.lost.aborted) {
      this.#releasing = true;
      this.#connection.send(`RELEASE_LOCK ${this.#name}`);
    }
    const held = await this.#connection.within(ANSWER_TIME, this.#ended);
    this.#connection.close();
    return held;
  }
}

class Connection {
  #socket;
  #unread = "";
  #lines = [];
  #readers = [];
  #end = null;

  static async open({ host, port, tls: options, hello }) {
    const connection = new Connection();
    const socket = options ? tls.connect({ host, port, servername: net.isIP(host) ? "" : host, ...options })
      : net.connect(port, host);
    connection.#socket = socket.setEncoding("utf8").setNoDelay().setKeepAlive(true, 10_000);
    socket.on("data", (text) => connection.#take(text));
    socket.on("error", (error) => connection.#fail(error));
    socket.on("close", () => connection.#fail(new Error("the connection ended")));
    socket.on("end", () => connection.#fail(new Error("the connection ended")));
    try {
      await connection.ask(hello); // is sent once it is connected
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  send(line) {
    this.#socket.write(line + "\n");
  }

  ask(line, patience = ANSWER_TIME) {
    this.send(line);
    return this.within(patience, this.next());
  }

  /** The next line; an ERROR and the end of the connection reject. */
  next() {
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#serve();
    });
  }

  async within(seconds, answer) {
    const late = () => this.#socket.destroy(new Error("no answer in time"));
    const timer = seconds < 2_000_000 ? setTimeout(late, seconds * 1000) : null;
    return answer.finally(() => clearTimeout(timer));
  }

  close() {
    this.#socket.destroy();
  }

  #take(text) {
    const lines = (this.#unread + text).split("\n");
    this.#unread = lines.pop();
    this.#lines.push(...lines);
    this.#serve();
  }

  #fail(error) {
    this.#end ??= error;
    this.#serve();
  }

  #serve() {
    while (this.#readers.length && (this.#lines.length || this.#end)) {
      const { resolve, reject } = this.#readers.shift();
      const line = this.#lines.shift();
      const [, symbol, text] = /^ERROR (\S+) (.*)/.exec(line ?? "") ?? [];
      if (line === undefined) reject(this.#end);
      else if (symbol) reject(new Refused(symbol, text));
      else resolve(line);
    }
  }
}

const now = () => performance.now() / 1000;

/** One word, whatever is in it; no text can be a second line. */
function quoted(text) {
  const safe = { "\\": "\\\\", "'": "''", "\n": "\\n", "\r": "\\r", "\0": "\\0" };
  return `'${text.replace(/[\\'\n\r\0]/g, (plain) => safe[plain])}'`;
}

module.exports = { GetLock, Guard, Refused, Lost };
