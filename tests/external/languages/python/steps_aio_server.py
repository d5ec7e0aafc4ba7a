"""Several names, permits and events on a server that knows them: steps of ../steps.md, for the kind for asyncio."""
import asyncio

from stage import raises, soon

from getlock.aio import GetLock, Leases, NotGranted, Refused


async def several_on_a_server(world):
    locks, names = GetLock(port=world.line_port), ["several:a", "several:b"]
    world.other.take("several:b")
    with raises(NotGranted) as seen:
        await locks.acquire(names, 0)
    assert seen[0].in_the_way == "several:b" and await locks.try_lock(names, shared=True) is None
    waits = asyncio.ensure_future(locks.acquire(names, 20))
    await soon(lambda: world.eye.waiters("several:b"), "the waiter")
    assert world.eye.is_free("several:a"), "the wait holds nothing"
    world.other.free("several:b")
    guard = await waits
    assert [world.eye.holder(name) for name in names] == [str(guard.session)] * 2
    assert await guard.release() is True and all(map(world.eye.is_free, names))
    async with locks.lock(names, 0, shared=True), locks.lock(names, 0, shared=True):
        assert await locks.try_lock(["several:b", "several:c"]) is None
    async with Leases(world.url).lock(names, 0) as lease:
        assert not any(map(world.eye.is_free, names)) and lease.names == tuple(names)
        with raises(NotGranted) as seen:
            await Leases(world.url).acquire(["several:c", "several:b"], 0)
        assert seen[0].in_the_way == "several:b"
    assert all(map(world.eye.is_free, names))


async def permits_on_a_server(world):
    locks = GetLock(port=world.line_port)
    async with locks.lock("permits", 0, limit=2) as one, locks.lock("permits", 0, limit=2) as two:
        assert two.fencing_token > one.fencing_token
        assert await locks.try_lock("permits", limit=2) is None and await locks.try_lock("permits") is None
        with raises(Refused, "LIMIT_DIFFERS"):
            await locks.acquire("permits", limit=3)
        assert await one.release() is True
        row = world.eye.row("permits")
        assert "mode=permit" in row and "limit=2" in row, row
        async with Leases(world.url).lock("permits", 0, limit=2):
            assert await locks.try_lock("permits", limit=2) is None
    assert world.eye.is_free("permits")


async def waiters_on_a_server(world):
    seen = []
    async with GetLock(port=world.line_port).lock("noticed", on_waiter=seen.append):
        waits = world.pool.submit(lambda: world.other.ask("GET_LOCK noticed 20"))
        await soon(lambda: seen, "the event")
        assert str(seen[0].session) in world.eye.waiters("noticed")
        assert (seen[0].kind, seen[0].name, seen[0].mode, seen[0].waiters) == ("waiting", "noticed", "exclusive", 1)
    assert await asyncio.wrap_future(waits) == "1"


async def watched_on_a_server(world):
    locks = GetLock(port=world.line_port)
    async with locks.watch("watched/") as watch:
        await (await locks.acquire("unwatched")).release()
        first = await locks.acquire("watched/it's a")
        await first.release()
        second = await locks.acquire("watched/it's a", shared=True)
        world.eye.kill(second.session)
        events = [await watch.__anext__() for _ in range(4)]
        assert [event.kind for event in events] == ["taken", "freed", "taken", "lost"], events
        assert [event.session for event in events] == [first.session] * 2 + [second.session] * 2
        assert [event.fencing_token for event in events[::2]] == [first.fencing_token, second.fencing_token]
        assert [event.mode for event in events[::2]] == ["exclusive", "shared"]
        assert [event.cause for event in events[1::2]] == ["release", "killed"]
        assert {event.name for event in events} == {"watched/it's a"} and events[1].held is not None
        assert await asyncio.wait_for(second.lost.wait(), 20)


STEPS = [several_on_a_server, permits_on_a_server, waiters_on_a_server, watched_on_a_server]
