"""The steps of a cluster, against stubs of its nodes; for the kind for asyncio."""
import asyncio
import time

from stage import NO_LEADER, NO_LEADER_HTTP, Elsewhere, LeaseStub, LineStub, nowhere, raises, soon

from getlock.aio import GetLock, Leases, Lost

BOTH = "127.0.0.1:{},127.0.0.1:{}".format


async def several_addresses(world):
    with LineStub(answers=1000) as good:
        locks = GetLock(BOTH(nowhere(), good.port), retry=0)
        assert await (await locks.acquire("several", timeout=0)).release() is True
        for words in b"", NO_LEADER, b"ERROR SHUTDOWN the server is stopping\n":
            with Elsewhere(words) as other:
                locks = GetLock(["127.0.0.1", f"127.0.0.1:{good.port}"], other.port, retry=0)
                for _ in range(3):
                    assert await (await locks.acquire("several", timeout=0)).release() is True
                assert other.connections == 1, "the last good one is the first"
    with Elsewhere(NO_LEADER) as one, Elsewhere(NO_LEADER) as two, raises(Exception):
        await GetLock(BOTH(one.port, two.port)).acquire("several", timeout=0)
    assert (one.connections, two.connections) == (1, 1)
    for wrong in "", "a:3305,", "a:99999", []:
        with raises((ValueError, OSError)):
            await GetLock(wrong, retry=0).acquire("several", timeout=0)


async def parked(world):
    def wait(one):
        time.sleep(4)
        one.sendall(b"HELLO version=0.1.0 protocol=1 session=7\n")

    with LineStub(answers=1000, says={"HELLO": wait}) as node, LineStub(answers=1000) as other:
        await (await GetLock(BOTH(node.port, other.port), name="").acquire("parked", timeout=0)).release()
        assert (node.connections, other.connections) == (1, 0)


async def told_in_a_cluster(world):
    with LineStub(answers=1000, promises=["left=0.800 term=7", "left=1.000 term=7", "left=0.700 term=7"]) as stub:
        async with GetLock(port=stub.port, stop_within=0.2).lock("told") as guard:
            await soon(lambda: len(stub.asked) > 12, "questions")
            assert guard.held(), "as long as it is answered"
        spans = [later - sooner for sooner, later in zip(stub.asked[3:], stub.asked[4:])]
        assert 0.1 < sorted(spans)[len(spans) // 2] < 0.18, "a ninth of the longest promise"
    with LineStub(answers=3, promises=["left=1.000 term=7"]) as stub:
        guard = await GetLock(port=stub.port, stop_within=0.3).acquire("told")
        await asyncio.wait_for(guard.lost.wait(), 20)
        assert time.monotonic() - stub.asked[2] < 0.8 and isinstance(guard.why, Lost)
    with LineStub(answers=1000, promises=["left=1.000 term=7"]) as stub:
        with raises(ValueError):
            await GetLock(port=stub.port, stop_within=0.31).acquire("told")


async def old_leader(world):
    with LineStub(answers=1000, promises=["left=1.000 term=8"] * 2 + ["left=1.000 term=7"]) as stub:
        locks = GetLock(port=stub.port, retry=0.2)
        guard = await locks.acquire("old")
        await asyncio.wait_for(guard.lost.wait(), 20)
        assert len(stub.asked) == 3 and not guard.held()
        await soon(stub.closed.is_set)
        with raises(OSError):
            await locks.acquire("old", timeout=0)
    with LineStub(answers=1000, promises=["left=1.000 term=8", "left=1.000 term=9"]) as stub:
        guard = await GetLock(port=stub.port).acquire("old")
        await asyncio.wait_for(guard.lost.wait(), 20)
        assert len(stub.asked) == 2, "a connection is of one term"
    with LineStub(answers=1000, grant_after=1.2, promises=["left=1.000 term=8", "left=0.000 term=8"]) as stub:
        with raises(OSError):
            await GetLock(port=stub.port, retry=0).acquire("old", timeout=0)
        await soon(stub.closed.is_set), "a grant with no time left is none"


async def waits_for_the_next(world):
    # The leader vanishes while a client waits: its questions find that out.
    with LineStub(answers=2, grant_after=60, promises=["left=0.500 term=7"]) as old, LineStub(
        answers=1000, promises=["left=1.000 term=8"]
    ) as new:
        start = time.monotonic()
        guard = await GetLock(BOTH(old.port, new.port)).acquire("waits", timeout=30)
        assert 0.8 < time.monotonic() - start < 5 and len(old.asked) == 1 and new.connections == 1
        assert await guard.release() is True


async def lease_addresses(world):
    urls = "http://127.0.0.1:{},http://127.0.0.1:{}".format
    with LeaseStub() as good:
        for words in b"", NO_LEADER_HTTP:
            with Elsewhere(words) as other:
                leases = Leases(urls(other.port, good.port))
                for _ in range(2):
                    assert await (await leases.acquire("addresses", timeout=0)).release() is True
                assert other.connections == 1
        leases = Leases(urls(nowhere(), good.port), retry=0)
        assert await (await leases.acquire("addresses", timeout=0)).release() is True
    # The lease outlives the leader: the next node takes its heartbeats.
    with LeaseStub({"heartbeat": {"success": False}}) as one, LeaseStub({"heartbeat": {}}) as two:
        async with Leases([one.url, two.url]).lock("addresses", ttl=1) as lease:
            await soon(lambda: len(two.beats) > 4, "heartbeats to the other")
            assert lease.held() and len(one.beats) == 1
    with LeaseStub({"acquire": {"term": 8}, "heartbeat": {"term": 7}}) as old:
        lease = await Leases(old.url).acquire("addresses", ttl=1)
        await asyncio.wait_for(lease.lost.wait(), 20)
        assert old.beats, "what an old leader acknowledges does not count"


STEPS = [several_addresses, parked, told_in_a_cluster, old_leader, waits_for_the_next, lease_addresses]
