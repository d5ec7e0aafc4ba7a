"""Several names, permits and events on a server that knows them: steps of ../steps.md, for the kind with threads."""
from stage import raises, until

from getlock import GetLock, Leases, NotGranted, Refused


def several_on_a_server(world):
    locks, names = GetLock(port=world.line_port), ["several:a", "several:b"]
    world.other.take("several:b")
    with raises(NotGranted) as seen:
        locks.acquire(names, 0)
    assert seen[0].in_the_way == "several:b" and locks.try_lock(names, shared=True) is None
    waits = world.pool.submit(lambda: locks.acquire(names, 20))
    until(lambda: world.eye.waiters("several:b"), "the waiter")
    assert world.eye.is_free("several:a"), "the wait holds nothing"
    world.other.free("several:b")
    guard = waits.result(20)
    assert [world.eye.holder(name) for name in names] == [str(guard.session)] * 2
    assert guard.release() is True and all(map(world.eye.is_free, names))
    with locks.lock(names, 0, shared=True), locks.lock(names, 0, shared=True):
        assert locks.try_lock(["several:b", "several:c"]) is None
    with Leases(world.url).lock(names, 0) as lease:
        assert not any(map(world.eye.is_free, names)) and lease.names == tuple(names)
        with raises(NotGranted) as seen:
            Leases(world.url).acquire(["several:c", "several:b"], 0)
        assert seen[0].in_the_way == "several:b"
    assert all(map(world.eye.is_free, names))


def permits_on_a_server(world):
    locks = GetLock(port=world.line_port)
    with locks.lock("permits", 0, limit=2) as one, locks.lock("permits", 0, limit=2) as two:
        assert two.fencing_token > one.fencing_token
        assert locks.try_lock("permits", limit=2) is None and locks.try_lock("permits") is None
        with raises(Refused, "LIMIT_DIFFERS"):
            locks.acquire("permits", limit=3)
        assert one.release() is True
        row = world.eye.row("permits")
        assert "mode=permit" in row and "limit=2" in row, row
        with Leases(world.url).lock("permits", 0, limit=2):
            assert locks.try_lock("permits", limit=2) is None
    assert world.eye.is_free("permits")


def waiters_on_a_server(world):
    seen = []
    with GetLock(port=world.line_port).lock("noticed", on_waiter=seen.append):
        waits = world.pool.submit(lambda: world.other.ask("GET_LOCK noticed 20"))
        until(lambda: seen, "the event")
        assert str(seen[0].session) in world.eye.waiters("noticed")
        assert (seen[0].kind, seen[0].name, seen[0].mode, seen[0].waiters) == ("waiting", "noticed", "exclusive", 1)
    assert waits.result(20) == "1"


def watched_on_a_server(world):
    locks = GetLock(port=world.line_port)
    with locks.watch("watched/") as watch:
        locks.acquire("unwatched").release()
        first = locks.acquire("watched/it's a")
        first.release()
        second = locks.acquire("watched/it's a", shared=True)
        world.eye.kill(second.session)
        events = [next(watch) for _ in range(4)]
        assert [event.kind for event in events] == ["taken", "freed", "taken", "lost"], events
        assert [event.session for event in events] == [first.session] * 2 + [second.session] * 2
        assert [event.fencing_token for event in events[::2]] == [first.fencing_token, second.fencing_token]
        assert [event.mode for event in events[::2]] == ["exclusive", "shared"]
        assert [event.cause for event in events[1::2]] == ["release", "killed"]
        assert {event.name for event in events} == {"watched/it's a"} and events[1].held is not None
        assert second.lost.wait(20)


STEPS = [several_on_a_server, permits_on_a_server, waiters_on_a_server, watched_on_a_server]
