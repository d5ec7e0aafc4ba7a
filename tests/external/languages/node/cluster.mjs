// Clusters, played by stubs of their nodes: steps of tests/external/languages/steps.md.
import { strict as assert } from "node:assert";
import { setTimeout as sleep } from "node:timers/promises";
import { GetLock, Leases, Lost, Refused } from "getlock";
import { Elsewhere, LeaseStub, Stub, deadPort, until } from "./others.mjs";

const NO_LEADER = "ERROR UNAVAILABLE no leader\n";
const BODY = JSON.stringify({ success: false, status: "Unavailable", message: "no leader" });
const JSON_OF = "Content-Type: application/json\r\nConnection: close\r\nContent-Length:";
const NO_LEADER_HTTP = `HTTP/1.1 503 No\r\n${JSON_OF} ${BODY.length}\r\n\r\n${BODY}`;

const ended = (promise) => promise.then(() => null, (error) => error);
const both = (one, two) => `127.0.0.1:${one},127.0.0.1:${two}`;
const urls = (...ports) => ports.map((port) => `http://127.0.0.1:${port}`);
const fired = (guard) => until("the loss", () => guard.lost.aborted);

/** Answers questions with one promise after the other, the last of them again and again. */
const promising = (...promises) => (stub) => `KEEPALIVE ${promises[Math.min(stub.questions.length, promises.length) - 1]}`;

export const clusterSteps = {
  async "several-addresses"() {
    const good = await Stub.start({});
    const first = new GetLock({ host: both(await deadPort(), good.port), retry: 0 });
    assert.equal(await (await first.acquire("several", { timeout: 0 })).release(), true);
    for (const words of ["", NO_LEADER, "ERROR SHUTDOWN the server is stopping\n"]) {
      const other = await Elsewhere.start(words);
      const locks = new GetLock({ host: ["127.0.0.1", `127.0.0.1:${good.port}`], port: other.port, retry: 0 });
      for (const _ of [1, 2, 3]) assert.equal(await (await locks.acquire("several", { timeout: 0 })).release(), true);
      assert.equal(other.connections, 1, "the last good one is the first");
      other.close();
    }
    const [one, two] = [await Elsewhere.start(NO_LEADER), await Elsewhere.start(NO_LEADER)];
    const error = await ended(new GetLock({ host: both(one.port, two.port) }).acquire("several", { timeout: 0 }));
    assert.ok(error instanceof Refused && error.symbol === "UNAVAILABLE", error);
    assert.deepEqual([one.connections, two.connections], [1, 1]);
    for (const host of ["a:3305,", "a:99999", [], [3305]]) assert.throws(() => new GetLock({ host }), TypeError);
    [good, one, two].forEach((stub) => stub.close());
  },

  async "parked"() {
    const node = await Stub.start({ HELLO: () => sleep(4000, "HELLO version=0.1.0 protocol=1 session=7") });
    const other = await Stub.start({});
    const locks = new GetLock({ host: both(node.port, other.port), name: "" });
    assert.equal(await (await locks.acquire("parked", { timeout: 0 })).release(), true);
    assert.deepEqual([node.connections, other.connections], [1, 0]);
    [node, other].forEach((stub) => stub.close());
  },

  async "told-in-a-cluster"() {
    const lefts = ["left=0.800 term=7", "left=1.000 term=7", "left=0.700 term=7"];
    const stub = await Stub.start({ KEEPALIVE: promising(...lefts) });
    const guard = await new GetLock({ port: stub.port, stopWithin: 0.2 }).acquire("told");
    await until("questions", () => stub.questions.length > 12);
    assert.equal(guard.held(), true, "as long as it is answered");
    const spans = stub.questions.slice(4).map((asked, at) => asked - stub.questions[at + 3]).sort((a, b) => a - b);
    const middle = spans[spans.length >> 1];
    assert.ok(middle > 100 && middle < 180, `a question each ${middle} ms`);
    await guard.release();
    stub.close();

    const thrice = (one) => (one.questions.length <= 3 ? "KEEPALIVE left=1.000 term=7" : undefined);
    const silent = await Stub.start({ KEEPALIVE: thrice });
    const lost = await new GetLock({ port: silent.port, stopWithin: 0.3 }).acquire("told");
    await fired(lost);
    const since = performance.now() - silent.questions[2];
    assert.ok(since < 800 && lost.why instanceof Lost, `told ${since} ms after the third question`);
    silent.close();

    const other = await Stub.start({ KEEPALIVE: "KEEPALIVE left=1.000 term=7" });
    const error = await ended(new GetLock({ port: other.port, stopWithin: 0.31 }).acquire("told"));
    assert.ok(error instanceof RangeError && /--cluster-ttl/.test(error.message), error);
    other.close();
  },

  async "old-leader"() {
    const stub = await Stub.start({ KEEPALIVE: promising("left=1.000 term=8", "left=1.000 term=8", "left=1.000 term=7") });
    const locks = new GetLock({ port: stub.port, retry: 0.2 });
    const guard = await locks.acquire("old");
    await fired(guard);
    assert.deepEqual([stub.questions.length, guard.held()], [3, false]);
    await until("the connection is closed", () => stub.open === 0);
    assert.match((await ended(locks.acquire("old", { timeout: 0 }))).message, /no longer leads/);
    stub.close();

    const next = await Stub.start({ KEEPALIVE: promising("left=1.000 term=8", "left=1.000 term=9") });
    const other = await new GetLock({ port: next.port }).acquire("old");
    await fired(other);
    assert.equal(next.questions.length, 2, "a connection is of one term");
    next.close();

    const late = await Stub.start({
      KEEPALIVE: promising("left=1.000 term=8", "left=0.000 term=8"), GET_LOCK: () => sleep(1200, "1"),
    });
    const error = await ended(new GetLock({ port: late.port, retry: 0 }).acquire("old", { timeout: 0 }));
    assert.match(error.message, /too late/);
    await until("the connection is closed", () => late.open === 0);
    late.close();
  },

  async "waits-for-the-next"() {
    const once = (stub) => (stub.questions.length === 1 ? "KEEPALIVE left=0.500 term=7" : undefined);
    const old = await Stub.start({ KEEPALIVE: once, GET_LOCK: () => sleep(60_000, "1") });
    const next = await Stub.start({ KEEPALIVE: "KEEPALIVE left=1.000 term=8" });
    const start = performance.now();
    const guard = await new GetLock({ host: both(old.port, next.port) }).acquire("waits", { timeout: 30 });
    const took = performance.now() - start;
    assert.ok(took > 800 && took < 5000, `the next one serves after ${took} ms`);
    assert.equal(await guard.release(), true);
    [old, next].forEach((stub) => stub.close());
  },

  async "lease-addresses"() {
    const good = await LeaseStub.start(1000);
    const taken = async (url, options) => new Leases({ url, retry: 0 }).acquire("addresses", { timeout: 0, ...options });
    assert.equal(await (await taken(urls(await deadPort(), good.port).join(","))).release(), true);
    for (const words of ["", NO_LEADER_HTTP]) {
      const other = await Elsewhere.start(words);
      const leases = new Leases({ url: urls(other.port, good.port) });
      for (const _ of [1, 2]) assert.equal(await (await leases.acquire("addresses", { timeout: 0 })).release(), true);
      assert.equal(other.connections, 1);
      other.close();
    }
    good.close();

    // The lease outlives the leader: the next node takes its heartbeats.
    const one = await LeaseStub.start(1000, { success: false, status: "Unavailable" }, "/heartbeat");
    const two = await LeaseStub.start(1000);
    const lease = await taken(urls(one.port, two.port), { ttl: 1 });
    await until("heartbeats to the other", () => two.beats.length > 4);
    assert.deepEqual([lease.held(), one.beats.length], [true, 1]);
    await lease.release();
    [one, two].forEach((stub) => stub.close());

    const terms = (path) => ({ term: path.endsWith("/acquire") ? 8 : 7 });
    const old = await LeaseStub.start(1000, {}, "", terms);
    const lost = await taken(urls(old.port), { ttl: 1 });
    await fired(lost);
    assert.ok(old.beats.length > 1, "what an old leader acknowledges does not count");
    old.close();
  },
};
