// The steps of tests/external/languages/steps.md: `steps LINE_PORT HTTP_PORT`.
import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { GetLock, Guard, Lease, Leases, Lost, NotGranted, Refused } from "getlock";
import { clusterSteps } from "./cluster.mjs";
import { serverSteps } from "./server.mjs";
import { LeaseStub, Line, LosingProxy, Stub, deadPort, until } from "./others.mjs";

const [port, httpPort] = process.argv.slice(2).map(Number);
const locks = new GetLock({ port });
const leases = new Leases({ url: `http://127.0.0.1:${httpPort}` });
const other = await Line.connect(port); // one that holds or waits
const eye = await Line.connect(port); // one that looks

const seconds = () => performance.now() / 1000;
const fired = (signal) => signal.aborted || new Promise((resolve) => signal.addEventListener("abort", resolve));
const ended = (promise) => promise.then(() => null, (error) => error);

/** Holds a lock by a plain socket while `work` runs. */
async function beside(name, work) {
  assert.equal(await other.ask(`GET_LOCK ${name} 0`), "1");
  try {
    return await work();
  } finally {
    await other.ask(`RELEASE_LOCK ${name}`);
  }
}

/** A body that must not run. */
function never() {
  never.runs++;
}

/** What LOCKS shows of a lock with one holder. */
async function row(name) {
  const row = await eye.ask(`LOCKS ${name}`);
  assert.equal(await eye.next(), "END 1");
  return row;
}

async function kill(name) {
  assert.equal(await eye.ask(`KILL ${await eye.ask(`IS_USED_LOCK ${name}`)}`), "1");
}

/** What `await using` does, for a Node that does not know it. */
async function using(guard, body) {
  try {
    return await body(guard);
  } finally {
    await guard[Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]();
  }
}

const steps = {
  async "acquire"() {
    const guard = await locks.acquire("acquire", { timeout: 0 });
    assert.ok(guard instanceof Guard);
    assert.equal(guard.name, "acquire");
    assert.equal(await eye.ask("IS_USED_LOCK acquire"), String(guard.session));
    assert.deepEqual([guard.held(), guard.why, guard.lost.aborted], [true, null, false]);
    assert.equal(await guard.release(), true);
    assert.equal(await eye.ask("IS_FREE_LOCK acquire"), "1");
    assert.deepEqual([guard.held(), guard.why, guard.lost.aborted], [false, null, false]);
    const next = await locks.acquire("acquire");
    assert.ok(next.fencingToken > guard.fencingToken);
    await next.release();
    assert.equal(createRequire(import.meta.url)("getlock").GetLock, GetLock);
  },

  async "try-lock"() {
    await beside("try-lock", async () => {
      const start = seconds();
      assert.equal(await locks.tryLock("try-lock"), null);
      assert.ok(seconds() - start < 5);
    });
    const guard = await locks.tryLock("try-lock");
    assert.equal(guard.held(), true);
    assert.equal(await guard.release(), true);
  },

  "nothing-is-no-block": "`await using` of null is no error in JavaScript",

  async "not-granted"() {
    await beside("not-granted", async () => {
      const start = seconds();
      const error = await ended(locks.acquire("not-granted", { timeout: 0.2 }));
      assert.ok(seconds() - start >= 0.19);
      assert.ok(error instanceof NotGranted && !(error instanceof Refused));
      assert.deepEqual([error.name, error.code], ["NotGranted", "ETIMEDOUT"]);
    });
  },

  async "body-needs-the-lock"() {
    await beside("body-needs-the-lock", async () => {
      for (const timeout of [0, 0.1]) {
        await assert.rejects(locks.lock("body-needs-the-lock", { timeout }, never), NotGranted);
      }
    });
    assert.equal(never.runs, 0);
  },

  "decorator-needs-the-lock": "there are no decorators",

  async "body-result"() {
    const held = async () => (await eye.ask("IS_FREE_LOCK body-result")) === "0";
    assert.equal(await locks.lock("body-result", { timeout: 0 }, held), true);
    assert.equal(await eye.ask("IS_FREE_LOCK body-result"), "1");
    const broken = new Error("broken");
    const error = await ended(locks.lock("body-result", () => Promise.reject(broken)));
    assert.equal(error, broken);
    assert.equal(error.cause, undefined);
    assert.equal(await eye.ask("IS_FREE_LOCK body-result"), "1");
    assert.equal(await locks.lock("body-result", (guard) => guard.release()), true);
  },

  async "shared"() {
    const first = await locks.acquire("shared", { timeout: 0, shared: true });
    const second = await locks.tryLock("shared", { shared: true });
    assert.equal(await locks.tryLock("shared"), null);
    assert.deepEqual([await first.release(), await second.release()], [true, true]);
    assert.equal(await eye.ask("IS_FREE_LOCK shared"), "1");
  },

  async "refused"() {
    for (const name of ["", "n".repeat(65)]) {
      const error = await ended(locks.lock(name, { timeout: 10 }, never));
      assert.ok(error instanceof Refused && !(error instanceof Lost));
      assert.deepEqual([error.name, error.symbol], ["Refused", "BAD_NAME"]);
    }
    assert.equal(never.runs, 0);
    await oddAnswers("refused");
  },

  async "server-away"() {
    const nowhere = new GetLock({ port: await deadPort(), retry: 0.5 });
    const start = seconds();
    const error = await ended(nowhere.lock("server-away", never));
    assert.equal(error.code, "ECONNREFUSED");
    assert.ok(seconds() - start >= 0.5 && seconds() - start < 5);
    assert.equal(never.runs, 0);
  },

  "killed-waiting": () => waitEnds("killed-waiting", "KILL", "KILLED"),

  "interrupted-waiting": () => waitEnds("interrupted-waiting", "KILL QUERY", "INTERRUPTED"),

  async "introduced"() {
    const named = new GetLock({ port, name: "it's me", note: "nightly \\ backup" });
    await named.lock("introduced", async (guard) => {
      assert.ok((await row("introduced")).includes(String.raw`client='it\'s me' note='nightly \\ backup'`));
      const { session, fencingToken } = guard;
      assert.equal(inspect(guard), `Guard "introduced" session=${session} fencingToken=${fencingToken} held=true`);
    });
    const byDefault = await locks.lock("introduced", () => row("introduced"));
    assert.ok(byDefault.includes(`@${hostname()}[${process.pid}] steps.mjs'`), byDefault);
    assert.ok(!byDefault.includes("note="), byDefault);
    const unnamed = await new GetLock({ port, name: "" }).lock("introduced", () => row("introduced"));
    assert.ok(!unnamed.includes("client="), unnamed);
    const long = "n".repeat(257);
    for (const wrong of [{ name: long }, { note: long }, { name: "", note: "none" }, { name: 7 }]) {
      assert.throws(() => new GetLock(wrong), TypeError);
    }
    const older = { KEEPALIVE: "KEEPALIVE left=25.000", INTRODUCE: "ERROR UNKNOWN_COMMAND it is older" };
    const stub = await Stub.start(older);
    assert.equal(await (await new GetLock({ port: stub.port }).acquire("introduced")).release(), true);
    stub.close();
  },

  async "lost-in-the-body"() {
    let held;
    const error = await ended(locks.lock("lost-in-the-body", async (guard) => {
      await kill("lost-in-the-body");
      await fired(guard.lost);
      held = guard;
      assert.equal(guard.held(), false);
      await sleep(20); // `lock` waits for the end of the body
    }));
    assert.ok(error instanceof Lost && error instanceof Refused);
    assert.deepEqual([error.name, error.symbol], ["Lost", "KILLED"]);
    assert.deepEqual([held.why, held.lost.reason], [error, error]);
    await oddWords("lost-in-the-body");
  },

  async "lost-and-raised"() {
    const lost = async (guard) => {
      await kill("lost-and-raised");
      await fired(guard.lost);
    };
    const broken = new Error("broken", { cause: new Error("deeper") });
    const body = (guard) => lost(guard).then(() => Promise.reject(broken));
    assert.equal(await ended(locks.lock("lost-and-raised", body)), broken);
    assert.equal(broken.cause.message, "deeper");
    assert.ok(broken.cause.cause instanceof Lost);
    const rethrows = (guard) => lost(guard).then(() => guard.lost.throwIfAborted());
    const rethrown = await ended(locks.lock("lost-and-raised", rethrows));
    assert.ok(rethrown instanceof Lost);
    assert.equal(rethrown.cause, undefined);
  },

  async "release-after-loss"() {
    const guard = await locks.acquire("release-after-loss");
    await kill("release-after-loss");
    assert.equal(await guard.release(), false);
    assert.equal(await guard.release(), false);
    assert.equal(guard.why.symbol, "KILLED");
    const ends = "1\nERROR SHUTDOWN the server is stopping"; // in one piece, at the end of a drain
    const stub = await Stub.start({ KEEPALIVE: "KEEPALIVE left=25.000", RELEASE_LOCK: ends });
    const drained = await new GetLock({ port: stub.port }).acquire("release-after-loss");
    assert.deepEqual([await drained.release(), drained.why], [true, null]);
    stub.close();
  },

  async "guard-as-block"() {
    assert.equal(await using(await locks.acquire("guard-as-block"), () => 5), 5);
    assert.equal(await eye.ask("IS_FREE_LOCK guard-as-block"), "1");
    await assert.rejects(using(await locks.acquire("guard-as-block"), () => kill("guard-as-block")), Lost);
  },

  async "ended-while-waiting"() {
    for (const kind of [locks, leases]) {
      await beside("ended-while-waiting", async () => {
        const controller = new AbortController();
        const waits = ended(kind.lock("ended-while-waiting", { signal: controller.signal }, never));
        await eye.waiting("ended-while-waiting", 1);
        const reason = new Error("enough");
        controller.abort(reason);
        assert.equal(await waits, reason);
        await eye.waiting("ended-while-waiting", 0);
        assert.equal(await ended(kind.acquire("ended-while-waiting", { signal: controller.signal })), reason);
      });
      assert.equal(await eye.ask("IS_FREE_LOCK ended-while-waiting"), "1");
    }
    assert.equal(never.runs, 0);
  },

  async "ended-as-granted"() {
    for (const kind of [locks, leases]) {
      for (let turn = 0; turn < 20; turn++) await endedAsGranted(kind, turn);
    }
  },

  async "ended-while-holding"() {
    const controller = new AbortController();
    const { signal } = controller;
    const body = () => {
      setTimeout(() => controller.abort(), 10);
      return sleep(60_000, null, { signal });
    };
    const error = await ended(locks.lock("ended-while-holding", { signal }, body));
    assert.equal(error.name, "AbortError");
    assert.equal(await eye.ask("IS_FREE_LOCK ended-while-holding"), "1");
  },

  "fork-leaves": "Node does not fork",
  "fork-exits": "Node does not fork",
  "fork-outlives": "Node does not fork",

  async "close-on-exec"() {
    const program = fileURLToPath(new URL("holder.mjs", import.meta.url));
    const holder = spawn(process.execPath, [program, port, "close-on-exec"]);
    try {
      const [command] = await once(createInterface({ input: holder.stdout }), "line");
      assert.equal(await eye.ask("IS_FREE_LOCK close-on-exec"), "0");
      holder.kill("SIGKILL");
      await eye.free("close-on-exec");
      process.kill(Number(command)); // and throws if the command did not outlive its parent
    } finally {
      holder.kill("SIGKILL");
    }
  },

  async "forever"() {
    const timeouts = [undefined, null, Infinity, -1, 1e300, Number.MAX_SAFE_INTEGER];
    const options = [undefined, ...timeouts.map((timeout) => ({ timeout }))];
    for (const kind of [locks, leases]) {
      const waits = await beside("forever", async () => {
        const granted = options.map((each) => kind.acquire("forever", each).then((guard) => guard.release()));
        await eye.waiting("forever", options.length);
        return granted;
      });
      assert.deepEqual(await Promise.all(waits), options.map(() => true));
    }
  },

  async "wrong-timeouts"() {
    const stub = await Stub.start({});
    for (const timeout of [NaN, "10", "", true, false, {}, [], 10n, Symbol("10"), new Date(), () => 10]) {
      for (const kind of [new GetLock({ port: stub.port }), new Leases({ url: `http://127.0.0.1:${stub.port}` })]) {
        await assert.rejects(kind.acquire("wrong-timeouts", { timeout }), TypeError);
        await assert.rejects(kind.tryLock("wrong-timeouts", { timeout }), TypeError);
        await assert.rejects(kind.lock("wrong-timeouts", { timeout }, never), TypeError);
      }
    }
    assert.deepEqual([stub.connections, never.runs], [0, 0]);
    stub.close();
  },

  async "wrong-arguments"() {
    const stub = await Stub.start({});
    for (const kind of [new GetLock({ port: stub.port }), new Leases({ url: `http://127.0.0.1:${stub.port}` })]) {
      for (const name of [10, undefined, null, ["nightly", 7], { name: "nightly" }, true, "half \ud83d"]) {
        await assert.rejects(kind.acquire(name), TypeError);
        await assert.rejects(kind.acquire(name, "nightly"), TypeError);
        await assert.rejects(kind.tryLock(name), TypeError);
        await assert.rejects(kind.lock(name, {}, never), TypeError);
      }
      const wrong = [10, "10", null, new Map(), { timeuot: 10 }, { shared: 1 }, { signal: {} }, AbortSignal.abort()];
      for (const options of wrong) {
        await assert.rejects(kind.acquire("nightly", options), TypeError);
        await assert.rejects(kind.tryLock("nightly", options), TypeError);
        await assert.rejects(kind.lock("nightly", options, never), TypeError);
      }
      for (const body of [undefined, null, "work", Promise.resolve()]) {
        await assert.rejects(kind.lock("nightly", { timeout: 10 }, body), TypeError);
      }
    }
    assert.deepEqual([stub.connections, never.runs], [0, 0]);
    stub.close();
    const servers = ["127.0.0.1", 3305, null, { prot: 3305 }, { port: "3305" }, { stopWithin: "2" }, { tls: "yes" }];
    servers.push({ retry: -1 });
    for (const options of servers) assert.throws(() => new GetLock(options), TypeError);
    const sites = ["http://127.0.0.1", { url: 3308 }, { url: "nowhere" }, { url: "ftp://127.0.0.1" }, { tls: true }];
    for (const options of sites) assert.throws(() => new Leases(options), TypeError);
  },

  async "told-in-time"() {
    const stub = await Stub.start({ KEEPALIVE: threeTimes });
    const guard = await new GetLock({ port: stub.port }).acquire("told-in-time");
    await fired(guard.lost);
    const since = performance.now() - stub.questions[2];
    assert.ok(since < 1000, `told ${since} ms after the third question`);
    assert.equal(guard.why.symbol, null);
    await until("the connection is closed", () => stub.open === 0);
    stub.close();
  },

  async "held-in-time"() {
    const stub = await Stub.start({ KEEPALIVE: threeTimes });
    const guard = await new GetLock({ port: stub.port, stopWithin: 0 }).acquire("held-in-time");
    await until("the third question", () => stub.questions.length >= 3);
    assert.equal(guard.held(), true);
    const rest = stub.questions[2] + 1000 - performance.now();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, rest); // no timer runs meanwhile
    assert.throws(() => guard.lost.throwIfAborted(), Lost);
    assert.deepEqual([guard.held(), guard.why.symbol], [false, null]);
    stub.close();
  },

  async "open-to-the-end"() {
    const goesOn = (stub) => until("the connection is closed", () => stub.open === 0);
    const late = await closedAfterLoss("open-to-the-end", goesOn);
    assert.ok(late > 900, `closed ${late} ms after the third question, and the body goes on`);
    const soon = await closedAfterLoss("open-to-the-end", () => {});
    assert.ok(soon < 900, `closed ${soon} ms after the third question, and the body has ended before`);
  },

  async "late-grant"() {
    const once = (stub) => (stub.questions.length === 1 ? "KEEPALIVE left=1.000" : undefined);
    const stub = await Stub.start({ KEEPALIVE: once, GET_LOCK: () => sleep(800, "1") });
    const error = await ended(new GetLock({ port: stub.port }).lock("late-grant", { timeout: 0.9 }, never));
    assert.match(error.message, /no answer came within 0.6 s/);
    assert.deepEqual([stub.questions.length, stub.connections, never.runs], [2, 1, 0]);
    await until("the connection is closed", () => stub.open === 0);
    stub.close();
  },

  async "questions-in-a-wait"() {
    const answers = [undefined, "KEEPALIVE left=1.000"]; // the first is told in front of the grant
    const stub = await Stub.start({
      KEEPALIVE: () => answers.shift(),
      GET_LOCK: () => sleep(300, "KEEPALIVE left=25.000\n1"),
    });
    assert.equal(await new GetLock({ port: stub.port }).lock("questions-in-a-wait", (guard) => guard.fencingToken), 5);
    stub.close();
    const late = await Stub.start({ KEEPALIVE: "KEEPALIVE left=1.000", GET_LOCK: () => sleep(800, "1") });
    assert.equal(await new GetLock({ port: late.port }).lock("questions-in-a-wait", (guard) => guard.held()), true);
    assert.equal(late.connections, 1);
    late.close();
  },

  async "several"() {
    const stub = await Stub.start({ GET_LOCKS: "1", GET_SHARED_LOCKS: "1", RELEASE_LOCKS: "2" });
    const site = new GetLock({ port: stub.port, name: "" });
    const names = await site.lock(["a", "it's b", "a"], (guard) => [guard.names, guard.name, guard.fencingToken]);
    assert.deepEqual(names, [["a", "it's b"], "a", 5]);
    const taking = ["HELLO", "GET_LOCKS 'a' 'it''s b' -1", "FENCING_TOKEN 'a'", "RELEASE_LOCKS 'a' 'it''s b'"];
    assert.deepEqual(stub.lines, taking);
    await site.lock(["a", "b"], { shared: true }, () => {});
    assert.ok(stub.lines.includes("GET_SHARED_LOCKS 'a' 'b' -1"));
    await site.lock(["a"], () => {});
    assert.ok(stub.lines.includes("GET_LOCK 'a' -1"), "which older servers know too");
    for (const wrong of [[], Array.from({ length: 65 }, (_, number) => `${number}`)]) {
      await assert.rejects(site.acquire(wrong), RangeError);
    }
    assert.equal(stub.connections, 3);
    stub.close();
    const busy = await Stub.start({ GET_LOCKS: String.raw`0 'it\'s b'` });
    const error = await ended(new GetLock({ port: busy.port }).acquire(["a", "it's b"], { timeout: 0 }));
    assert.ok(error instanceof NotGranted && error.inTheWay === "it's b", error);
    assert.equal(await new GetLock({ port: busy.port }).tryLock(["a", "it's b"]), null);
    busy.close();
    const odd = await Stub.start({ GET_LOCKS: "0" });
    const unnamed = await ended(new GetLock({ port: odd.port, retry: 0 }).tryLock(["a", "b"]));
    assert.match(unnamed.message, /answers "0" to GET_LOCKS/);
    odd.close();
  },

  async "permits"() {
    const stub = await Stub.start({ GET_PERMIT: "1" });
    await new GetLock({ port: stub.port, name: "" }).lock("gpu", { limit: 3 }, (guard) => assert.ok(guard.held()));
    assert.deepEqual(stub.lines, ["HELLO", "GET_PERMIT 'gpu' 3 -1", "FENCING_TOKEN 'gpu'", "RELEASE_LOCK 'gpu'"]);
    const url = `http://127.0.0.1:${stub.port}`;
    for (const kind of [new GetLock({ port: stub.port }), new Leases({ url })]) {
      for (const limit of [0, 65536, 1.5, "3", true]) await assert.rejects(kind.acquire("gpu", { limit }), TypeError);
      await assert.rejects(kind.acquire("gpu", { limit: 3, shared: true }), TypeError);
      await assert.rejects(kind.acquire(["gpu", "cpu"], { limit: 3 }), TypeError);
    }
    assert.equal(stub.connections, 1);
    stub.close();
    const other = await Stub.start({ GET_PERMIT: "ERROR LIMIT_DIFFERS the limit is 2" });
    const error = await ended(new GetLock({ port: other.port }).acquire("gpu", { limit: 3 }));
    assert.ok(error instanceof Refused && error.symbol === "LIMIT_DIFFERS");
    other.close();
  },

  async "told-of-waiters"() {
    const line = String.raw`* WAITING name='it\'s \\ here' session=9 mode=exclusive waiters=1`;
    const stub = await Stub.start({
      EVENTS: "1", FENCING_TOKEN: `5\n${line}\n${line}`, RELEASE_LOCK: `${line}\n* NEW word=1\n1`,
    });
    const site = new GetLock({ port: stub.port });
    const seen = [];
    const guard = await site.acquire("told", { onWaiter: (event) => seen.push(event) });
    await until("both", () => seen.length >= 2);
    const [{ kind, name, session, mode, waiters, count, fields }] = seen;
    assert.deepEqual([kind, name, session, mode, waiters], ["waiting", "it's \\ here", 9, "exclusive", 1]);
    assert.deepEqual([count, fields.session, guard.held()], [null, "9", true]);
    assert.ok(stub.lines.indexOf("EVENTS ON") < stub.lines.indexOf("GET_LOCK 'told' -1"));
    assert.equal(await guard.release(), true);
    // Without the wish nothing is asked for, and what comes all the same is no reply.
    stub.lines.splice(0);
    assert.equal(await site.lock("told", (held) => sleep(300, held).then(() => held.held())), true);
    assert.ok(!stub.lines.includes("EVENTS ON"));
    stub.close();
    const older = await Stub.start({ EVENTS: "ERROR UNKNOWN_COMMAND it is older" });
    const error = await ended(new GetLock({ port: older.port }).acquire("told", { onWaiter: never }));
    assert.ok(error instanceof Refused && error.symbol === "UNKNOWN_COMMAND");
    older.close();
    await assert.rejects(locks.acquire("told", { onWaiter: "tell" }), TypeError);
  },

  async "watched"() {
    const holder = "session=9 fencing_token=1795168800000012";
    const taken = `* TAKEN name=app/a mode=permit ${holder} limit=3`;
    const freed = `* FREED name=app/a mode=permit ${holder} held=1.500 cause=release`;
    const lost = `* LOST name='app/two words' mode=shared ${holder} held=0.250 cause=killed`;
    const stub = await Stub.start({ WATCH: ["1", taken, "* NEW word=1", freed, lost, "* MISSED count=12"].join("\n") });
    const watch = await new GetLock({ port: stub.port }).watch("app/");
    assert.equal(stub.lines.at(-1), "WATCH 'app/'");
    const seen = [];
    for await (const event of watch) if (seen.push(event) === 4) break;
    assert.deepEqual(seen.map(({ kind }) => kind), ["taken", "freed", "lost", "missed"]);
    const [first, second, third, fourth] = seen;
    assert.deepEqual([first.name, first.session, first.mode], ["app/a", 9, "permit"]);
    assert.equal(first.fencingToken, 1795168800000012);
    assert.deepEqual([first.fields.limit, first.held, second.held, second.cause], ["3", null, 1.5, "release"]);
    assert.deepEqual([third.name, third.cause, fourth.count], ["app/two words", "killed", 12]);
    await until("the connection is closed", () => stub.open === 0);
    const leaving = new AbortController();
    const waits = await new GetLock({ port: stub.port }).watch("", { signal: leaving.signal });
    for (let i = 0; i < 4; i++) await waits.next();
    const waiting = ended(waits.next());
    leaving.abort();
    assert.equal((await waiting).name, "AbortError");
    stub.close();
    // A connection that breaks is made again, and that is told.
    const draining = await Stub.start({
      WATCH: (_, socket) => {
        setTimeout(() => socket.write("ERROR SHUTDOWN the server is stopping\n"), 100);
        return `1\n${taken}`;
      },
    });
    const again = await new GetLock({ port: draining.port }).watch();
    assert.equal(draining.lines.at(-1), "WATCH");
    for (const kind of ["taken", "missed", "taken", "missed"]) assert.equal((await again.next()).value.kind, kind);
    again.close();
    assert.equal((await again.next()).done, true);
    draining.close();
    const older = await Stub.start({ WATCH: "ERROR UNKNOWN_COMMAND it is older" });
    assert.equal((await ended(new GetLock({ port: older.port }).watch())).symbol, "UNKNOWN_COMMAND");
    older.close();
    await assert.rejects(locks.watch(7), TypeError);
  },

  async "leads-again"() {
    const [terms, told, done] = [[], [], new Error("done")];
    let mayEnd;
    const ending = new Promise((resolve) => { mayEnd = resolve; });
    const election = locks.lead("leads-again", async (guard) => {
      terms.push(guard.fencingToken);
      if (terms.length === 3) throw done;
      if (terms.length === 2) return ending;
      await fired(guard.lost);
      told.push(guard.why.symbol);
      await sleep(1, null, { signal: guard.lost }); // an AbortError
    });
    const end = ended(election);
    for (const term of [1, 2]) {
      await until("the term", () => terms.length === term);
      const other = locks.acquire("leads-again");
      await eye.waiting("leads-again", 1);
      if (term === 1) await kill("leads-again");
      else mayEnd();
      const leader = await other;
      await eye.waiting("leads-again", 1);
      assert.equal(await leader.release(), true);
    }
    assert.equal(await end, done);
    assert.deepEqual(told, ["KILLED"]);
    assert.ok(terms[0] < terms[1] && terms[1] < terms[2], terms.join());
    await eye.free("leads-again");
  },

  async "ends-to-lead"() {
    const broken = new Error("broken");
    assert.equal(await ended(locks.lead("ends-to-lead", () => Promise.reject(broken))), broken);
    assert.equal(await eye.ask("IS_FREE_LOCK ends-to-lead"), "1");
    assert.equal((await ended(locks.lead("", never))).symbol, "BAD_NAME");
    const nowhere = new GetLock({ port: await deadPort(), retry: 0.2 });
    assert.equal((await ended(nowhere.lead("ends-to-lead", never))).code, "ECONNREFUSED");
    const leaving = new AbortController();
    const { signal } = leaving;
    const election = ended(locks.lead("ends-to-lead", { signal }, () => sleep(20_000, null, { signal })));
    await until("the leader", async () => (await eye.ask("IS_FREE_LOCK ends-to-lead")) === "0");
    leaving.abort();
    assert.equal((await election).name, "AbortError");
    assert.equal(await eye.ask("IS_FREE_LOCK ends-to-lead"), "1");
    await assert.rejects(locks.lead("ends-to-lead"), TypeError);
    assert.equal(never.runs, 0);
  },

  async "lease"() {
    const lease = await leases.acquire("lease", { ttl: 1 });
    assert.ok(lease instanceof Lease && Number.isSafeInteger(lease.fencingToken));
    assert.match(lease.leaseToken, /^[0-9a-f]{32}$/);
    await sleep(3000);
    assert.deepEqual([lease.held(), await eye.ask("IS_FREE_LOCK lease")], [true, "0"]);
    assert.equal(await lease.release(), true);
    assert.deepEqual([lease.held(), await eye.ask("IS_FREE_LOCK lease")], [false, "1"]);
    // It is counted from a heartbeat if it had to wait for long.
    const waits = await beside("lease", async () => {
      const granted = leases.lock("lease", { timeout: 10, ttl: 1 }, (held) => held.held());
      await eye.waiting("lease", 1);
      await sleep(500);
      return [granted];
    });
    assert.equal(await waits[0], true);
    assert.equal(await eye.ask("IS_FREE_LOCK lease"), "1");
    const told = await leases.lock("lease", { client: "web-1", note: "steps" }, () => eye.ask("LOCKS lease"));
    assert.equal(await eye.next(), "END 1");
    assert.match(told, / client=web-1 note=steps /);
  },

  async "lease-not-granted"() {
    await beside("lease-not-granted", async () => {
      await assert.rejects(leases.lock("lease-not-granted", { timeout: 0 }, never), NotGranted);
      await assert.rejects(leases.lock("lease-not-granted", { timeout: 0.1 }, never), NotGranted);
      assert.equal(await leases.tryLock("lease-not-granted"), null);
    });
    const error = await ended(leases.lock("", { timeout: 0 }, never));
    assert.ok(error instanceof Refused && error.symbol === "BadRequest");
    const stub = await LeaseStub.start(1, { lockToken: undefined });
    const site = new Leases({ url: `http://127.0.0.1:${stub.port}` });
    assert.match((await ended(site.lock("lease-not-granted", never))).message, /without a token/);
    stub.close();
    assert.equal(never.runs, 0);
  },

  async "lease-lost"() {
    const error = await ended(leases.lock("lease-lost", { ttl: 1 }, async (lease) => {
      await kill("lease-lost");
      await fired(lease.lost);
      assert.deepEqual([lease.held(), await lease.release()], [false, false]);
    }));
    assert.ok(error instanceof Lost);
    assert.equal(error.symbol, "NotFound");
  },

  async "lease-introduced"() {
    const url = `http://127.0.0.1:${httpPort}`;
    const shown = (options, each = {}) =>
      new Leases({ url, ...options }).lock("lease-introduced", each, () => row("lease-introduced"));
    const named = { name: "web-1", note: "backup" };
    assert.match(await shown(named), / client=web-1 note=backup /);
    assert.match(await shown(named, { client: "web-2", note: "repair" }), / client=web-2 note=repair /);
    assert.ok((await shown({})).includes(`@${hostname()}[${process.pid}] steps.mjs'`));
    assert.doesNotMatch(await shown({ name: "" }), /client=/);
    for (const wrong of [{ client: "n".repeat(257) }, { note: "n".repeat(257) }]) {
      await assert.rejects(leases.acquire("lease-introduced", wrong), TypeError);
    }
  },

  async "lease-asked-again"() {
    const proxy = await LosingProxy.start(httpPort);
    const behind = new Leases({ url: `http://127.0.0.1:${proxy.port}` });
    const lease = await behind.acquire("lease-asked-again", { timeout: 0 });
    assert.ok(lease.held());
    await row("lease-asked-again");
    assert.equal(await lease.release(), true);
    await eye.free("lease-asked-again");
    assert.equal(await behind.lock("lease-asked-again", () => true), true);
    const ids = proxy.requests.map(({ requestId }) => requestId);
    assert.match(ids[0], /^[!-~]{16,64}$/);
    assert.deepEqual([ids.length, ids[0] === ids[1], ids[1] === ids[2]], [3, true, false]);
    proxy.close();
  },

  async "lease-in-time"() {
    const stub = await LeaseStub.start(1);
    const lease = await new Leases({ url: `http://127.0.0.1:${stub.port}` }).acquire("lease-in-time", { ttl: 1 });
    await fired(lease.lost);
    const since = performance.now() - stub.beats[0];
    assert.ok(since < 1000, `told ${since} ms after the heartbeat`);
    assert.ok(stub.beats.length > 1);
    stub.close();
    const doubtful = await LeaseStub.start(100, { success: false, status: "Unavailable" }, "/heartbeat");
    const taken = await new Leases({ url: `http://127.0.0.1:${doubtful.port}` }).acquire("lease-in-time", { ttl: 1 });
    await sleep(900);
    assert.deepEqual([taken.held(), doubtful.beats.length > 1], [false, true]);
    doubtful.close();
  },
};

const threeTimes = (stub) => (stub.questions.length <= 3 ? "KEEPALIVE left=1.000 spare=7" : undefined);

/** What no getlockd says to one who wants a lock: it is tried again, and nothing is granted. */
async function oddAnswers(name) {
  const lefts = ["-5", "", "nan", "1e3", "5 more", "9".repeat(400)];
  const promises = lefts.map((left) => ({ KEEPALIVE: `KEEPALIVE left=${left}` }));
  for (const answers of [{ FENCING_TOKEN: "NULL" }, { GET_LOCK: "NULL" }, { GET_LOCK: "no" }, ...promises]) {
    const stub = await Stub.start(answers);
    const error = await ended(new GetLock({ port: stub.port, retry: 5 }).lock(name, { timeout: 0.3 }, never));
    assert.ok(!(error instanceof NotGranted || error instanceof Refused), `${JSON.stringify(answers)}: ${error}`);
    assert.match(error.message, /cannot be used/);
    assert.ok(stub.connections > 1);
    stub.close();
  }
  const stub = await Stub.start({ GET_LOCK: "ERROR KILLED" });
  assert.equal((await ended(new GetLock({ port: stub.port }).lock(name, never))).symbol, "KILLED");
  stub.close();
  assert.equal(never.runs, 0);
}

/** What no getlockd says to one who holds a lock: it is lost before its time is over. */
async function oddWords(name) {
  const chunk = "x".repeat(1 << 20);
  const flood = (stub, socket) => socket.destroyed || socket.write(chunk, () => flood(stub, socket));
  for (const odd of [() => "1\nERROR KILLED", () => "KEEPALIVE left=-5", (stub, socket) => void flood(stub, socket)]) {
    const answer = (stub, socket) => (stub.questions.length > 1 ? odd(stub, socket) : "KEEPALIVE left=2.500");
    const stub = await Stub.start({ KEEPALIVE: answer });
    const guard = await new GetLock({ port: stub.port }).acquire(name);
    await fired(guard.lost);
    const since = performance.now() - stub.questions[0];
    assert.ok(since < 1300, `told ${since} ms after the first question: ${guard.why}`);
    assert.deepEqual([guard.held(), await guard.release()], [false, false]);
    await until("the connection is closed", () => stub.open === 0);
    stub.close();
  }
}

/** When the connection ends, in ms from the third question on. After the loss the body goes on with `rest`. */
async function closedAfterLoss(name, rest) {
  const stub = await Stub.start({ KEEPALIVE: threeTimes });
  const error = await ended(new GetLock({ port: stub.port }).lock(name, async (guard) => {
    await fired(guard.lost);
    await rest(stub);
  }));
  assert.ok(error instanceof Lost);
  await until("the connection is closed", () => stub.open === 0);
  stub.close();
  return stub.ends[0] - stub.questions[2];
}

/** Somebody ends a wait by its session's number. */
async function waitEnds(name, command, symbol) {
  await beside(name, async () => {
    const waits = ended(locks.lock(name, { timeout: 60 }, never));
    const [session] = await eye.waiting(name, 1);
    assert.equal(await eye.ask(`${command} ${session}`), "1");
    const error = await waits;
    assert.ok(error instanceof Refused && !(error instanceof Lost));
    assert.equal(error.symbol, symbol);
    await eye.waiting(name, 0);
  });
  assert.equal(never.runs, 0);
}

/** The wait ends just as the lock is granted, a little earlier or later each time. */
async function endedAsGranted(kind, turn) {
  assert.equal(await other.ask("GET_LOCK ended-as-granted 0"), "1");
  const controller = new AbortController();
  const granted = kind.acquire("ended-as-granted", { signal: controller.signal });
  const waits = granted.then((guard) => guard.release(), (error) => error);
  await eye.waiting("ended-as-granted", 1);
  const reply = other.ask("RELEASE_LOCK ended-as-granted");
  if (turn % 3 > 0) await new Promise(setImmediate);
  if (turn % 3 > 1) await sleep(turn / 10);
  controller.abort();
  const end = await waits;
  assert.ok(end === true || end === controller.signal.reason, String(end));
  assert.equal(await reply, "1");
  await eye.free("ended-as-granted");
}

/** A step that hangs is over, too. */
async function run(step) {
  const late = new AbortController();
  const limit = sleep(60_000, null, { signal: late.signal }).then(() => Promise.reject(new Error("it takes too long")));
  await Promise.race([step(), limit]).finally(() => late.abort());
}

for (const [name, step] of Object.entries({ ...steps, ...clusterSteps, ...serverSteps(locks, leases, other, eye) })) {
  if (typeof step === "string") {
    console.log(`skip ${name}: ${step}`);
    continue;
  }
  never.runs = 0;
  try {
    await run(step);
    console.log(`ok ${name}`);
  } catch (error) {
    process.exitCode = 1;
    console.log(`not ok ${name}: ${error.message.replaceAll(/\s+/g, " ")}`);
  }
}
process.exit();
