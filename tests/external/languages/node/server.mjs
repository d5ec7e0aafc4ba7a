// Several names, permits and events on a server that knows them: steps of tests/external/languages/steps.md.
import { strict as assert } from "node:assert";
import { NotGranted, Refused } from "getlock";
import { until } from "./others.mjs";

const ended = (promise) => promise.then(() => null, (error) => error);

export const serverSteps = (locks, leases, other, eye) => ({
  async "several-on-a-server"() {
    const names = ["several:a", "several:b"];
    const free = (name) => eye.ask(`IS_FREE_LOCK ${name}`);
    assert.equal(await other.ask("GET_LOCK several:b 0"), "1");
    const error = await ended(locks.acquire(names, { timeout: 0 }));
    assert.ok(error instanceof NotGranted && error.inTheWay === "several:b", error);
    assert.equal(await locks.tryLock(names, { shared: true }), null);
    const waits = locks.acquire(names, { timeout: 20 });
    await eye.waiting("several:b", 1);
    assert.equal(await free("several:a"), "1", "the wait holds nothing");
    assert.equal(await other.ask("RELEASE_LOCK several:b"), "1");
    const guard = await waits;
    for (const name of names) assert.equal(await eye.ask(`IS_USED_LOCK ${name}`), String(guard.session));
    assert.equal(await guard.release(), true);
    for (const name of names) assert.equal(await free(name), "1");
    await locks.lock(names, { shared: true }, async () => {
      await locks.lock(names, { shared: true, timeout: 0 }, () => {});
      assert.equal(await locks.tryLock(["several:b", "several:c"]), null);
    });
    await leases.lock(names, { timeout: 0 }, async (lease) => {
      assert.deepEqual(lease.names, names);
      for (const name of names) assert.equal(await free(name), "0");
      const busy = await ended(leases.acquire(["several:c", "several:b"], { timeout: 0 }));
      assert.equal(busy.inTheWay, "several:b");
    });
    for (const name of names) assert.equal(await free(name), "1");
  },

  async "permits-on-a-server"() {
    const limit = 2;
    const [one, two] = [await locks.acquire("permits", { limit }), await locks.acquire("permits", { limit })];
    assert.ok(two.fencingToken > one.fencingToken);
    assert.deepEqual([await locks.tryLock("permits", { limit }), await locks.tryLock("permits")], [null, null]);
    const error = await ended(locks.acquire("permits", { limit: 3 }));
    assert.ok(error instanceof Refused && error.symbol === "LIMIT_DIFFERS", error);
    assert.equal(await one.release(), true);
    const row = await eye.ask("LOCKS permits");
    assert.equal(await eye.next(), "END 1");
    assert.match(row, / mode=permit .* limit=2/);
    await leases.lock("permits", { limit }, async () => assert.equal(await locks.tryLock("permits", { limit }), null));
    assert.equal(await two.release(), true);
    assert.equal(await eye.ask("IS_FREE_LOCK permits"), "1");
  },

  async "waiters-on-a-server"() {
    const seen = [];
    await locks.lock("noticed", { onWaiter: (event) => seen.push(event) }, async () => {
      other.send("GET_LOCK noticed 20");
      await until("the event", () => seen.length > 0);
      const [{ kind, name, session, mode, waiters }] = seen;
      assert.deepEqual([String(session)], await eye.waiting("noticed", 1));
      assert.deepEqual([kind, name, mode, waiters], ["waiting", "noticed", "exclusive", 1]);
    });
    assert.equal(await other.next(), "1");
    assert.equal(await other.ask("RELEASE_LOCK noticed"), "1");
  },

  async "watched-on-a-server"() {
    const watch = await locks.watch("watched/");
    await locks.lock("unwatched", () => {});
    const first = await locks.acquire("watched/it's a");
    await first.release();
    const second = await locks.acquire("watched/it's a", { shared: true });
    assert.equal(await eye.ask(`KILL ${second.session}`), "1");
    const events = [];
    for await (const event of watch) if (events.push(event) === 4) break;
    const facts = events.map(({ kind, name, session, mode }) => [kind, name, session, mode]);
    const [one, two] = [first, second].map(({ session }, i) => ["watched/it's a", session, ["exclusive", "shared"][i]]);
    assert.deepEqual(facts, [["taken", ...one], ["freed", ...one], ["taken", ...two], ["lost", ...two]]);
    assert.deepEqual([events[1].cause, events[3].cause], ["release", "killed"]);
    const tokens = [events[0].fencingToken, events[2].fencingToken];
    assert.deepEqual(tokens, [first.fencingToken, second.fencingToken]);
    assert.ok(typeof events[1].held === "number");
  },
});
