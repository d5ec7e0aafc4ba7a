"use strict";
// Locks of getlockd: `GetLock` by its line protocol, `Leases` over HTTP. Install this folder as a package, or copy
// this file, cluster.cjs, events.cjs, held.cjs and site.cjs. They need Node 18 and nothing else. `require` and `import`
// both load them.
//
//     const locks = new GetLock({ host: "127.0.0.1", port: 3305 });
//     await locks.lock("nightly", { timeout: 10 }, async (guard) => {
//       await fetch(url, { signal: guard.lost, headers: { "X-Token": guard.fencingToken } });
//     });
//
// ALL TIMES ARE IN SECONDS, as on the server and in the other languages: 0.5 is half a second.
//
// Each guard has a connection of its own. While it holds the lock, the client asks the server again and again for how
// long nobody else is granted it. `guard.lost` fires when the lock is lost, and also `stopWithin` seconds before such
// a promise runs out without another. The server frees a lock when its connection ends, so that connection stays open,
// unused, until the work has stopped or the promise has run out. Work that blocks the event loop keeps the client
// from asking: a promise is for 25 s by default, and a loop that is blocked for more than two fifths of it can lose
// the lock.

const { randomUUID } = require("node:crypto");
const net = require("node:net");
const tls = require("node:tls");
const { setTimeout: sleep } = require("node:timers/promises");
const { Cluster, PARKED_TIME, addressesOf } = require("./cluster.cjs");
const { Watch, eventIn, plain } = require("./events.cjs");
const {
  ANSWER_TIME, Held, LONGEST_TIMER, LOOK_EVERY, Locks, Lost, NotGranted, Refused, addCause, away, checkMode, checkName, checkOptions,
  identityOf, kinds, namesOf, now, patienceOf, pauseAfter, quietly, startOf, unless,
} = require("./held.cjs");
const { Site, secureOptions } = require("./site.cjs");

const LONGEST_LINE = 65536; // no reply that a client asks for comes near to it
const MOST_LINES = 16; // that nobody has read; fewer are asked for at a time
const TOO_LATE = "the server answered too late to rely on its grant";
const UNAVAILABLE = "Unavailable"; // the symbol of 503 over HTTP
const OUTDATED = "it no longer leads its cluster";

const LEAD = { signal: kinds.signal };
const TAKE_ANY = { timeout: kinds.timeout, shared: kinds.boolean, limit: kinds.limit, signal: kinds.signal };
const TAKE = { ...TAKE_ANY, onWaiter: kinds.function };
const TAKE_LEASE = { ...TAKE_ANY, ttl: kinds.span, client: kinds.shown, note: kinds.shown };
const LOGIN = {
  user: kinds.string, password: kinds.string, tls: kinds.tls, retry: kinds.span, stopWithin: kinds.span,
  name: kinds.shown, note: kinds.shown,
};
const SERVER = { host: kinds.strings, port: kinds.port, ...LOGIN };
const SITE = { url: kinds.strings, ...LOGIN, token: kinds.string };

/** Locks that a connection holds: `name`, `names`, `fencingToken`, and `session`, the server's number of it. */
class Guard extends Held {}

/** Locks that heartbeats hold: `name`, `names`, `fencingToken` and `leaseToken`. */
class Lease extends Held {}

// ---------------------------------------------------------------------------------------- the line protocol

/**
 * A server, or a cluster of them: `host` has one address or several, as "a:3305,b:3305" or an array. `port` is that of
 * those without one. If a node does not answer or cannot serve, the next one is tried. The last good one is the first.
 * `tls` is true, or options of `tls.connect`. A server that is away is tried for `retry` seconds.
 * `stopWithin` is the time that work needs to stop when its lock is lost: by default two fifths of what the server
 * promises. In a cluster it is a fifth of the longest promise, and at most three tenths of it. The lists of the server show `name` and `note`. The name is `user@host[pid] program` by default; with ""
 * the client does not introduce itself.
 */
class GetLock extends Locks {
  #server;
  #retry;

  constructor(options = {}) {
    super();
    checkOptions("GetLock", options, SERVER);
    const { host, port, user, password, tls: secure, retry, stopWithin } = options;
    const login = user ? `AUTH ${quoted(user)} ${quoted(password ?? "")}` : null;
    const introduction = introductionOf(identityOf("GetLock", options));
    const cluster = new Cluster(addressesOf(host ?? "127.0.0.1", port ?? 3305));
    this.#server = { cluster, tls: secureOptions(secure), login, introduction, stopWithin };
    this.#retry = retry ?? 30;
  }

  /**
   * Resolves to a Guard. Rejects with NotGranted if others hold the lock until `timeout` is over. An array of names is
   * taken all or none, in one wait that holds nothing. With `limit` it takes a permit: at most so many sessions hold
   * the lock together. `onWaiter` is called with an event when another session begins to wait for what the guard holds.
   */
  async acquire(name, options = {}) {
    const names = namesOf(name);
    checkOptions("acquire", options, TAKE);
    checkMode(names, options);
    const timeout = patienceOf(options.timeout);
    const wish = { ...wishOf(names, options), timeout, deadline: now() + timeout, onWaiter: options.onWaiter };
    return this.#reach((connection) => connection.take(wish), wish.deadline, options.signal);
  }

  /**
   * Leader election: runs `body(guard)` while this process holds the lock, and again when it holds it again.
   * `guard.lost` tells the body that leadership is lost. A body that ends by itself releases the lock. In both cases
   * this process is then a candidate again, behind the others, and its next term has a new fencing token. The election
   * ends with an error of the body, unless that is the Lost or an AbortError of it, and with `signal`. A server that
   * cannot be reached ends it within `retry` of the first try. Once the server has answered it is tried forever.
   */
  async lead(name, options, body) {
    if (typeof options === "function" && body === undefined) return this.lead(name, {}, options);
    if (typeof body !== "function") {
      throw new TypeError('lead takes a function. Write lead("scheduler", async (guard) => { ... })');
    }
    checkName(name);
    checkOptions("lead", options, LEAD);
    const wish = { ...wishOf([name], {}), timeout: Infinity, deadline: Infinity };
    for (let retry = this.#retry; ; retry = Infinity) {
      const candidate = { retry, outlasts: true };
      const guard = await this.#reach((connection) => connection.take(wish), Infinity, options.signal, candidate);
      const failure = await Promise.resolve(guard).then(body).then(() => null, (error) => ({ error }));
      const isLeader = await guard.release();
      if (failure === null || (!isLeader && isOfLoss(failure.error, guard.why))) continue;
      if (!isLeader) addCause(failure.error, guard.why);
      throw failure.error;
    }
  }

  /** Resolves to a Watch: what happens to the locks whose names begin with `prefix`, from now on. */
  async watch(prefix = "", options = {}) {
    if (!kinds.string.fits(prefix)) throw new TypeError(`a prefix is ${kinds.string.is}`);
    checkOptions("watch", options, LEAD);
    const { signal } = options;
    const connect = (tell) => this.#reach((connection) => connection.watch(prefix, tell), Infinity, signal);
    return new Watch(connect, isFinal).begin(signal);
  }

  /** What `begin` resolves to. Nothing is held yet, so a connection that breaks is made again. */
  async #reach(begin, deadline, signal, { retry = this.#retry, outlasts = false } = {}) {
    const { cluster } = this.#server;
    for (let attempt = 0, awaySince = now(), patience = retry, round = cluster.round(); ; ) {
      signal?.throwIfAborted();
      const connection = new Connection(this.#server, round[0]);
      try {
        return await unless(signal, begin(connection), () => connection.fail(signal.reason));
      } catch (error) {
        connection.close();
        if (signal?.aborted || isFinal(error)) throw error;
        if (connection.session !== null) {
          awaySince = now();
          if (outlasts) patience = Infinity;
        }
        if (round.shift() && round.length > 0) continue; // each address has its turn before a pause
        round = cluster.round();
        const rest = Math.min(deadline, awaySince + patience) - now();
        if (rest <= 0) throw error instanceof Refused ? error : away(connection.where, error);
        await sleep(Math.min(pauseAfter(attempt++), rest) * 1000, null, { signal }).catch(() => {});
      }
    }
  }
}

/** What is said to take the locks and to release them. The fencing token is that of all of them. */
function wishOf(names, { shared, limit }) {
  const [words, plural] = [names.map(quoted).join(" "), names.length > 1 ? "S" : ""];
  const verb = shared ? "GET_SHARED_LOCK" : "GET_LOCK";
  const taking = limit == null ? `${verb}${plural} ${words}` : `GET_PERMIT ${words} ${limit}`;
  return { names, taking, freeing: `RELEASE_LOCK${plural} ${words}` };
}

/** Whether a body ended with this error since it was told that its lock is lost. */
const isOfLoss = (error, lost) => error === lost || error?.cause === lost || error?.name === "AbortError";

/** The line that tells the server who this is; null if it is not to be told. */
function introductionOf({ name, note }) {
  if (name === "") return null;
  return note === undefined ? `INTRODUCE ${quoted(name)}` : `INTRODUCE ${quoted(name)} ${quoted(note)}`;
}

/** Whether another connection would be answered the same. */
function isFinal(error) {
  if (error instanceof Refused) return !["SHUTDOWN", "LIMIT", "UNAVAILABLE"].includes(error.symbol);
  return error instanceof NotGranted || error instanceof RangeError;
}

/** The wire of one guard. Replies come in order, but for those to KEEPALIVE, which overtake. */
class Connection {
  session = null; // the server's number of this connection, once it has told it
  promise = null; // the server's last
  keepsProcess = true; // its socket does
  #server;
  #address;
  #term = null; // of the leader that has answered, in a cluster
  #socket;
  #unread = "";
  #lines = [];
  #readers = [];
  #questions = [];
  #failure = null;
  #release = null;
  #ended = null;
  #isFreeing = false;
  #tell = null; // is called with each event

  constructor(server, address) {
    const { host, port } = address;
    const { tls: secure } = server;
    const servername = net.isIP(host) ? "" : host;
    const socket = secure ? tls.connect({ host, port, servername, ...secure }) : net.connect(port, host);
    this.#server = server;
    this.#address = address;
    this.#socket = socket.setEncoding("utf8").setNoDelay().setKeepAlive(true, 10_000);
    socket.on("data", (text) => this.#read(text));
    socket.on("error", (error) => this.fail(error));
    socket.on("close", () => this.fail(new Error("the connection ended")));
    socket.on("end", () => this.fail(new Error("the connection ended")));
  }

  get where() {
    return `${this.#address.host}:${this.#address.port}`;
  }

  /** Takes locks, all in one flight. The guard that it resolves to is surely held. */
  async take({ names, taking, freeing, timeout, deadline, onWaiter }) {
    await this.#open();
    const wait = Math.max(0, deadline - now());
    this.#socket.cork();
    const greeted = this.#greet();
    this.ask();
    const isTold = onWaiter && this.#request("EVENTS ON");
    const taken = this.#request(`${taking} ${wait === Infinity ? -1 : wait.toFixed(6)}`);
    const token = this.#request(`FENCING_TOKEN ${quoted(names[0])}`);
    this.#socket.uncork();
    if (onWaiter) this.#tell = (event) => event.kind === "waiting" && queueMicrotask(() => onWaiter(event));
    await greeted;
    await this.#confirmed(isTold, "EVENTS");
    const stop = this.#watchLeader();
    const answer = await this.#within(wait + ANSWER_TIME, taken).finally(stop);
    const [, inTheWay] = (names.length > 1 ? /^0 (.+)$/s : /^0()$/).exec(answer) ?? [];
    if (inTheWay !== undefined) throw new NotGranted(names, timeout, plain(inTheWay) || names[0]);
    if (answer !== "1") throw new Error(`it answers ${startOf(answer)} to ${taking.split(" ")[0]}`);
    const fencingToken = numberIn(await this.#within(ANSWER_TIME, token));
    await this.#makeSure();
    this.#release = freeing;
    return this.#hold(new Guard({ name: names[0], names, fencingToken, session: this.session }, this));
  }

  /** Resolves to this connection when the server tells what happens. `over` resolves to why it no longer does. */
  async watch(prefix, tell) {
    await this.#open();
    this.#tell = tell;
    const greeted = this.#greet();
    const watched = this.#request(prefix === "" ? "WATCH" : `WATCH ${quoted(prefix)}`);
    await greeted;
    await this.#confirmed(watched, "WATCH");
    const unasked = (line) => new Error(`it says ${startOf(line)} without being asked`);
    this.over = this.#next().then(unasked, (error) => error);
    return this;
  }

  pause() {
    this.#socket.pause();
  }

  resume() {
    this.#socket.resume();
  }

  /** Says who this is. It resolves when the server has told the number of the session. */
  #greet() {
    const login = this.#server.login && this.#request(this.#server.login);
    const introduced = this.#server.introduction && this.#request(this.#server.introduction);
    const hello = this.#request("HELLO");
    const patience = this.#server.cluster.firstAnswerTime;
    return quietly((async () => {
      await this.#within(patience, login);
      await this.#within(patience, introduced).catch((error) => {
        if (error.symbol !== "UNKNOWN_COMMAND") throw error; // An older server shows no names.
      });
      this.session = sessionIn(await this.#within(patience, hello));
      this.#server.cluster.served(this.#address);
    })());
  }

  async #confirmed(reply, verb) {
    const line = await this.#within(ANSWER_TIME, reply);
    if (reply && line !== "1") throw new Error(`it answers ${startOf(line)} to ${verb}`);
  }

  /** Asks for how long nobody else is granted what this connection holds. */
  ask() {
    const sent = now();
    this.#socket.write("KEEPALIVE\n");
    return quietly(new Promise((resolve, reject) => {
      this.#questions.push({ sent, resolve, reject });
      this.#serve();
    }));
  }

  free() {
    this.#isFreeing = true;
    this.#socket.write(`${this.#release}\n`);
    return this.#within(ANSWER_TIME, this.#ended);
  }

  /** Nothing is sent or taken any more, and the process may end. The end of the connection is still noticed. */
  leave() {
    this.#socket.removeAllListeners("data").resume().unref();
  }

  close() {
    this.fail(new Error("the connection was closed"));
  }

  fail(error) {
    this.#failure ??= error;
    this.#socket.destroy();
    this.#serve();
  }

  /** Without a leader a cluster does not shake hands. */
  async #open() {
    const [connected, secured] = [this.#happens("connect"), this.#server.tls && this.#happens("secureConnect")];
    await this.#within(this.#server.cluster.connectTime(ANSWER_TIME), connected);
    await this.#within(this.#server.cluster.firstAnswerTime, secured);
  }

  #happens(event) {
    return quietly(new Promise((resolve, reject) => {
      this.#socket.once(event, resolve);
      this.#socket.once("close", () => reject(this.#failure));
    }));
  }

  /**
   * While it waits in a cluster: asks whenever a promise is over whether the leader is still there, since TCP alone
   * would find that out much later. Returns what ends this.
   */
  #watchLeader() {
    let timer = null;
    const look = () => {
      const rest = (this.promise?.openUntil ?? now()) - now();
      const isDue = this.#term !== null && rest <= 0;
      if (isDue) this.#within(this.#server.cluster.longest, this.ask()).catch(() => {});
      const pause = isDue ? this.#server.cluster.longest : Math.max(0.05, Math.min(LOOK_EVERY, rest));
      timer = setTimeout(look, pause * 1000).unref();
    };
    look();
    return () => clearTimeout(timer);
  }

  /** The promise that was asked for in front of the wait can have run out by the time of the grant. */
  async #makeSure() {
    const isSure = () => this.promise !== null && now() < this.promise.until;
    if (isSure()) return;
    const patience = this.promise ? this.promise.patience : ANSWER_TIME;
    await this.#within(patience, this.ask());
    if (!isSure()) throw new Error(TOO_LATE);
  }

  /** The next line is the reply to the release, or the reason of the end. */
  #hold(guard) {
    const over = (symbol, text) => {
      this.onover(symbol, text);
      return false;
    };
    this.#ended = this.#next().then(
      (line) => (this.#isFreeing && /^[1-9]\d*$/.test(line))
        || over(null, `the server says ${line}: the lock was not held`),
      (error) => error instanceof Refused ? over(error.symbol, error.message)
        : over(null, `${this.where} is lost: ${error.message}. Others may have the lock: stop, and take it again`),
    );
    return guard;
  }

  #request(line) {
    this.#socket.write(`${line}\n`);
    return this.#next();
  }

  /** The next line that is no reply to KEEPALIVE. An ERROR and the end of the connection reject. */
  #next() {
    return quietly(new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#serve();
    }));
  }

  async #within(seconds, reply) {
    const late = () => this.fail(new Error(`no answer came within ${seconds.toFixed(1)} s`));
    const timer = seconds < LONGEST_TIMER ? setTimeout(late, seconds * 1000) : null;
    try {
      return await reply;
    } finally {
      clearTimeout(timer);
    }
  }

  #read(text) {
    const lines = (this.#unread + text).split("\n");
    this.#unread = lines.pop();
    if (this.#unread.length > LONGEST_LINE) this.fail(new Error("a line without an end came"));
    for (const line of lines) {
      if (this.#failure) return;
      if (line.startsWith("KEEPALIVE")) this.#answered(line);
      else if (line.startsWith("* ")) this.#tell?.(eventIn(line));
      else this.#lines.push(line);
    }
    this.#serve();
    if (this.#lines.length > MOST_LINES) this.fail(new Error("lines came that nobody has asked for"));
  }

  #answered(line) {
    const [, left] = /^KEEPALIVE left=(\d{1,9}(?:\.\d+)?)(?: [a-z_]+=.*)?$/.exec(line) ?? [];
    const [, term] = / term=(\S*)/.exec(line) ?? [];
    if (!left || !/^\d{1,18}$/.test(term ?? "0") || this.#questions.length === 0) {
      return this.fail(new Error(`it says ${startOf(line)}, which is no answer to a question`));
    }
    const question = this.#questions.shift();
    if (term === undefined) this.#promised(Number(left), question);
    else this.#promisedBy(BigInt(term), Number(left), question);
  }

  /** The same of a cluster, in that term of its leader. A connection is of one term. */
  #promisedBy(term, left, { sent, resolve }) {
    const { cluster, stopWithin } = this.#server;
    if (!cluster.takes(term, left) || (this.#term ?? term) !== term) return this.fail(new Error(OUTDATED));
    this.#term = term;
    try {
      const { every, margin } = cluster.rhythm(stopWithin, this.where);
      // An earlier promise still holds, also if this one is shorter.
      const openUntil = Math.max(this.promise?.openUntil ?? 0, sent + left);
      this.#keep({ sent, until: openUntil - margin, every, openUntil, patience: cluster.longest - margin });
      resolve();
    } catch (error) {
      this.fail(error);
    }
  }

  #keep(promise) {
    this.promise = promise;
    this.onsure?.(promise);
  }

  /** `left` counts from the moment in which the question was sent: nobody knows when the server read it. */
  #promised(left, { sent, resolve }) {
    const stopWithin = this.#server.stopWithin ?? left * 0.4;
    if (left > 0 && stopWithin >= left * 0.8) {
      const most = (left * 0.8).toFixed(1);
      const text = `stopWithin is ${stopWithin} s, and ${this.where} promises a lock for ${left} s at a time`;
      return this.fail(new RangeError(`${text}: it would be lost at once. Make stopWithin less than ${most} s`));
    }
    // A server that promises nothing leaves it to TCP to find a connection that was cut.
    const [until, every] = left > 0 ? [sent + left - stopWithin, left / 5] : [Infinity, Infinity];
    this.#keep({ sent, until, every, openUntil: sent + left, patience: left - stopWithin });
    resolve();
  }

  #serve() {
    while (this.#readers.length > 0 && (this.#lines.length > 0 || this.#failure)) {
      const { resolve, reject } = this.#readers.shift();
      const line = this.#lines.shift();
      const [, symbol, text] = /^ERROR (\S+) ?(.*)/.exec(line ?? "") ?? [];
      if (line === undefined) reject(this.#failure);
      else if (symbol) reject(new Refused(symbol, text));
      else resolve(line);
    }
    if (this.#failure) this.#questions.splice(0).forEach(({ reject }) => reject(this.#failure));
  }
}

function sessionIn(line) {
  const [, session] = /^HELLO .*\bsession=(\d+)/.exec(line) ?? [];
  if (session) return Number(session);
  throw new Error(`it answers ${startOf(line)} to HELLO, which is not an answer of getlockd`);
}

/** A server that has forgotten the grant says NULL. */
function numberIn(line) {
  if (/^\d+$/.test(line) && Number.isSafeInteger(Number(line))) return Number(line);
  throw new Error(`it answers ${startOf(line)} where the number of a grant was expected`);
}

/** One word, whatever is in it; no text can be a second line. */
function quoted(text) {
  const safe = { "\\": "\\\\", "'": "''", "\n": "\\n", "\r": "\\r", "\0": "\\0" };
  return `'${text.replace(/[\\'\n\r\0]/g, (plain) => safe[plain])}'`;
}

// ------------------------------------------------------------------------------------------------- leases

/**
 * The HTTP port of a server, for those that hold no connection. `url` has one base URL or, for the nodes of a cluster,
 * several: with commas between them, or an array. A user logs in with a password, or with a token alone.
 * `stopWithin` is the time that work needs to stop when its lock is lost: by default a fifth of the lease's `ttl`.
 */
class Leases extends Locks {
  #site;
  #stopWithin;
  #retry;
  #identity;

  constructor(options = {}) {
    super();
    checkOptions("Leases", options, SITE);
    this.#site = new Site(options);
    this.#stopWithin = options.stopWithin;
    this.#retry = options.retry ?? 30;
    this.#identity = identityOf("Leases", options);
  }

  /**
   * Resolves to a Lease, which runs for `ttl` seconds from each heartbeat on. Rejects with NotGranted if others hold
   * the lock until `timeout` is over. A request whose answer was lost is sent again with the same id: it gets the lease
   * that was granted, or its place in the queue. `client` and `note` replace those of this object. An array of names
   * is taken all or none. With `limit` it takes a permit.
   */
  async acquire(name, options = {}) {
    const names = namesOf(name);
    checkOptions("acquire", options, TAKE_LEASE);
    checkMode(names, options);
    const ttl = options.ttl ?? 45;
    const stopWithin = this.#stopWithin ?? ttl / 5;
    // A heartbeat goes out every third of the time: one of them has to be answered before the lease counts as lost.
    if (stopWithin >= (ttl * 2) / 3) {
      throw new RangeError(`stopWithin is ${stopWithin} s, and ttl is ${ttl} s. Make it less than two thirds of ttl`);
    }
    options.signal?.throwIfAborted();
    const timeout = patienceOf(options.timeout);
    const wish = { names, timeout, ttl, stopWithin, deadline: now() + timeout };
    const body = acquisition(names, ttl, { ...options, client: options.client ?? this.#identity.name,
      note: options.note ?? this.#identity.note });
    return this.#take(wish, body, options.signal);
  }

  /** A request without an answer is repeated: the server knows it by its id. */
  async #take(wish, body, signal) {
    for (let attempt = 0, awaySince = now(), round = this.#site.cluster.round(); ; ) {
      signal?.throwIfAborted();
      const began = now();
      const left = Math.max(0, wish.deadline - began);
      const waitMs = left === Infinity ? -1 : Math.ceil(left * 1000);
      const call = this.#site.post(round[0], "acquire", { ...body, waitMs }, left + PARKED_TIME);
      try {
        return await unless(signal, this.#granted(call, round[0], wish), () => call.hangUp());
      } catch (error) {
        const leavesOthersToAsk = call.isBroken || call.isLate || error.symbol === UNAVAILABLE;
        if (!signal?.aborted && leavesOthersToAsk && round.length > 1 && round.shift()) continue;
        round = this.#site.cluster.round();
        if (signal?.aborted || !call.isBroken) throw error;
        if (call.wasSent && now() - began > ANSWER_TIME) awaySince = now(); // somebody was there
        // What was sent may have been granted: that is asked for also when the timeout is over.
        const end = Math.min(call.wasSent ? Infinity : wish.deadline, awaySince + this.#retry);
        if (end <= now()) throw error;
        await sleep(Math.min(pauseAfter(attempt++), end - now()) * 1000, null, { signal }).catch(() => {});
      }
    }
  }

  async #granted(call, base, { names, timeout, ttl, stopWithin }) {
    const sent = now();
    const reply = await call.reply;
    call.isBroken = !this.#site.takes(reply); // It is asked again, with the same id.
    if (call.isBroken) throw this.#site.away(OUTDATED);
    this.#site.cluster.served(base);
    const { status, success, message, lockToken, fencingToken, inTheWay } = reply;
    if (status === "Busy") throw new NotGranted(names, timeout, inTheWay);
    if (!success) throw new Refused(status, message);
    if (typeof lockToken !== "string" || lockToken === "") throw this.#site.away("it grants a lease without a token");
    const heart = new Heart(this.#site, base, { resourceName: names[0], lockToken }, ttl, stopWithin);
    if (!Number.isSafeInteger(fencingToken)) {
      heart.free();
      throw this.#site.away("it grants a lease without a number");
    }
    // Nobody knows when in a long wait the lease began: it is counted from a heartbeat.
    if (now() - sent <= ttl / 5) heart.promised(sent);
    else await heart.begin();
    return new Lease({ name: names[0], names, fencingToken, leaseToken: lockToken }, heart);
  }
}

function acquisition(names, ttl, { shared, limit, client, note }) {
  const resource = names.length > 1 ? { resourceNames: names } : { resourceName: names[0] };
  const mode = limit == null ? { mode: shared ? "shared" : "exclusive" } : { mode: "permit", limit };
  const ttlMs = Math.round(ttl * 1000);
  const shown = { clientId: client || undefined, note: note || undefined };
  return { ...resource, ...mode, ttlMs, ...shown, requestId: randomUUID() };
}

/** The wire of one lease. */
class Heart {
  promise = null;
  keepsProcess = false; // there is no socket that does, so the timer of the lease has to
  #site;
  #base; // where the next request goes
  #lease;
  #ttl;
  #stopWithin;
  #call = null;
  #isAsking = false;
  #isFreeing = false;
  #isClosed = false;

  constructor(site, base, lease, ttl, stopWithin) {
    this.#site = site;
    this.#base = base;
    this.#lease = lease;
    this.#ttl = ttl;
    this.#stopWithin = stopWithin;
  }

  promised(sent) {
    this.promise = { sent, until: sent + this.#ttl - this.#stopWithin, every: this.#ttl / 3 };
    this.onsure?.(this.promise);
  }

  /** The first heartbeat of a lease that is not given out before it is answered. */
  async begin() {
    const sent = now();
    const reply = await this.#beat(this.#ttl - this.#stopWithin).catch((error) => ({ error }));
    if (reply.success) this.promised(sent);
    if (this.promise !== null && now() < this.promise.until) return;
    this.free();
    if (reply.status && !reply.success) throw new Lost(reply.status, reply.message);
    throw reply.error ?? new Error(TOO_LATE);
  }

  /** Sends heartbeats until one is answered. */
  async ask() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    for (let attempt = 0; !this.#isFreeing && !this.#isClosed; attempt++) {
      const sent = now();
      // Of several addresses there is time for another one.
      const share = this.#site.cluster.isSeveral ? 4 : 3;
      const reply = await this.#beat(Math.min(ANSWER_TIME, this.#ttl / share)).catch(() => null);
      if (this.#isFreeing || this.#isClosed) break;
      if (reply?.success) this.promised(sent);
      else if (reply?.isFinal) this.onover(reply.status, reply.message);
      if (reply?.success || reply?.isFinal) break;
      await this.#pause(attempt);
    }
    this.#isAsking = false;
  }

  /** Tries until it is answered: a lease that nobody frees stands in the way of others to its end. */
  async free() {
    this.#isFreeing = true;
    this.#call?.destroy();
    const end = now() + ANSWER_TIME;
    for (let attempt = 0; !this.#isClosed; attempt++) {
      const patience = Math.max(1, end - now());
      const reply = await this.#send("release", this.#lease, patience).catch((error) => ({ message: error.message }));
      if (reply.success) return true;
      if (reply.isFinal || now() > end) {
        this.onover?.(reply.status ?? null, reply.message);
        break;
      }
      await this.#pause(attempt);
    }
    return false;
  }

  close() {
    this.#isClosed = true;
    this.#call?.destroy();
  }

  /** Of a short lease no pause may take much. */
  #pause(attempt) {
    return sleep(Math.min(pauseAfter(attempt), this.#ttl / 20) * 1000);
  }

  #beat(patience) {
    return this.#send("heartbeat", { ...this.#lease, ttlMs: Math.round(this.#ttl * 1000) }, patience);
  }

  /** The lease outlives the leader, so its own time bounds it. But what an old leader says does not count. */
  async #send(path, body, patience) {
    this.#call = this.#site.post(this.#base, path, body, patience);
    let isGood = false;
    try {
      const reply = await this.#call.reply;
      isGood = this.#site.takes(reply) && (reply.success || reply.isFinal);
      if (!this.#site.takes(reply)) throw this.#site.away(OUTDATED);
      return reply;
    } finally {
      if (!isGood) this.#base = this.#site.cluster.after(this.#base);
    }
  }
}

module.exports = { GetLock, Guard, Leases, Lease, Refused, Lost, NotGranted, Watch };
