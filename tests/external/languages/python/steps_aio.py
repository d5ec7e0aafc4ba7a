"""The steps of ../steps.md, for the kind for asyncio: LINE_PORT HTTP_PORT."""
import asyncio
import os
import socket
import time

import steps_aio_cluster
import steps_aio_ended
import steps_aio_kinds
import steps_aio_server
import steps_aio_timed
from stage import DRAINED, ODD_ANSWERS, ODD_WORDS, LineStub, raises, run, soon

from getlock.aio import GetLock, Lost, NotGranted, Refused


class Failure(Exception):
    """What a body raises."""


async def acquire(world):
    locks = GetLock(port=world.line_port)
    guard = await locks.acquire("acquire", 0)
    assert guard.name == "acquire" and guard.held() and guard.why is None and not guard.lost.is_set()
    assert world.eye.holder("acquire") == str(guard.session)
    assert await guard.release() is True
    assert world.eye.is_free("acquire") and not guard.held() and guard.why is None
    assert await guard.release() is True, "again"
    later = await locks.acquire("acquire", 10)
    assert later.fencing_token > guard.fencing_token
    assert await asyncio.gather(later.release(), later.release()) == [True, True]


async def try_lock(world):
    locks = GetLock(port=world.line_port)
    world.other.take("try-lock")
    start = time.monotonic()
    assert await locks.try_lock("try-lock") is None
    assert await locks.try_lock("try-lock", shared=True) is None
    assert time.monotonic() - start < 5
    world.other.free("try-lock")
    guard = await locks.try_lock("try-lock")
    assert guard is not None and not world.eye.is_free("try-lock")
    assert await guard.release() is True


async def nothing_is_no_block(world):
    world.other.take("nothing")
    ran = []
    with raises((TypeError, AttributeError)):
        async with await GetLock(port=world.line_port).try_lock("nothing"):
            ran.append(1)
    assert not ran


async def not_granted(world):
    world.other.take("not-granted")
    for name in "not-granted", "NOT-GRANTED":
        start = time.monotonic()
        with raises(NotGranted) as seen:
            await GetLock(port=world.line_port).acquire(name, timeout=0.2)
        assert 0.2 <= time.monotonic() - start < 10
        assert isinstance(seen[0], TimeoutError) and name in str(seen[0])


async def body_needs_the_lock(world):
    world.other.take("body")
    ran = []
    for timeout in 0, 0.1:
        with raises(NotGranted):
            async with GetLock(port=world.line_port).lock("body", timeout):
                ran.append(1)
    assert not ran


async def decorator_needs_the_lock(world):
    locks, ran = GetLock(port=world.line_port), []

    @locks.lock("decorator", timeout=0)
    async def body(number, *, word):
        """Says so."""
        assert not world.eye.is_free("decorator")
        ran.append(number)
        return word

    assert body.__name__ == "body" and body.__doc__ == "Says so." and asyncio.iscoroutinefunction(body) and not ran
    assert await body(1, word="one") == "one" and await body(2, word="two") == "two"
    assert world.eye.is_free("decorator")
    world.other.take("decorator")
    with raises(NotGranted):
        await body(3, word="three")
    assert ran == [1, 2]
    with raises(TypeError):
        locks.lock("decorator")(lambda: None)


async def body_result(world):
    locks = GetLock(port=world.line_port)
    block = locks.lock("result", 5)
    for _ in range(2):
        async with block as guard:
            await asyncio.sleep(0)
            result = guard.fencing_token
        assert result == guard.fencing_token and world.eye.is_free("result")
    with raises(Failure) as seen:
        async with block:
            with raises(RuntimeError):
                async with block:
                    raise AssertionError("a block within itself")
            raise Failure("mine")
    assert str(seen[0]) == "mine" and seen[0].__cause__ is None
    assert world.eye.is_free("result")


async def shared(world):
    locks = GetLock(port=world.line_port)
    async with locks.lock("shared", 0, shared=True) as one, await locks.acquire("shared", 0, True) as two:
        assert two.fencing_token > one.fencing_token
        assert await locks.try_lock("shared") is None
    async with locks.lock("shared", 0):
        assert await locks.try_lock("shared", shared=True) is None


async def refused(world):
    locks, ran = GetLock(port=world.line_port), []
    for name in "", "n" * 65, "a\0b":
        for take in locks.acquire, locks.try_lock:
            with raises(Refused, "BAD_NAME"):
                await take(name)
        with raises(Refused, "BAD_NAME"):
            async with locks.lock(name):
                ran.append(1)
    assert not ran
    await _odd_answers()


async def _odd_answers():
    """It is tried again, and nothing is granted."""
    ran = []
    for says in ODD_ANSWERS:
        with LineStub(answers=1000, says=says) as stub:
            with raises(OSError) as seen:
                async with GetLock(port=stub.port).lock("odd", 0.3):
                    ran.append(1)
            assert not isinstance(seen[0], NotGranted) and stub.connections > 1, says
    with LineStub(answers=1000, says={"GET_LOCK": "ERROR KILLED"}) as stub:
        with raises(Refused, "KILLED"):
            await GetLock(port=stub.port).acquire("odd")
    assert not ran


async def introduced(world):
    async with GetLock(port=world.line_port, name="it's me", note="nightly \\ backup").lock("introduced") as guard:
        row = world.eye.row("introduced")
        assert "client='it\\'s me' note='nightly \\\\ backup'" in row, row
        assert repr(guard) == f"<Guard 'introduced' session={guard.session} fencing_token={guard.fencing_token} held=True>"
    async with GetLock(port=world.line_port).lock("introduced"):
        row = world.eye.row("introduced")
        assert f"@{socket.gethostname()}[{os.getpid()}] steps_aio.py'" in row and "note=" not in row, row
    async with GetLock(port=world.line_port, name="").lock("introduced"):
        assert "client=" not in world.eye.row("introduced")
    for wrong in {"name": "n" * 257}, {"note": "n" * 257}, {"name": "", "note": "none"}:
        with raises(ValueError):
            GetLock(**wrong)
    with LineStub(answers=1000, says={"INTRODUCE": "ERROR UNKNOWN_COMMAND it is older"}) as stub:
        guard = await GetLock(port=stub.port).acquire("introduced")
        assert await guard.release() is True


async def server_away(world):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    locks, ran = GetLock(port=port, retry=0.5), []
    start = time.monotonic()
    with raises(OSError) as seen:
        async with locks.lock("away"):
            ran.append(1)
    assert not isinstance(seen[0], NotGranted)
    assert 0.5 <= time.monotonic() - start < 10
    with raises(OSError):
        await locks.try_lock("away")
    assert not ran


async def _waiting_and(world, kill, symbol, name):
    ran = []

    async def wait():
        with raises(Refused, symbol):
            async with GetLock(port=world.line_port).lock(name):
                ran.append(1)

    world.other.take(name)
    waits = asyncio.create_task(wait())
    await soon(lambda: world.eye.waiters(name), "the waiter")
    assert world.eye.ask(f"{kill} {world.eye.waiters(name)[0]}") == "1"
    await waits
    assert not ran and not world.eye.waiters(name)


async def killed_waiting(world):
    await _waiting_and(world, "KILL", "KILLED", "killed-waiting")


async def interrupted_waiting(world):
    await _waiting_and(world, "KILL QUERY", "INTERRUPTED", "interrupted-waiting")


async def lost_in_the_body(world):
    ended = []
    with raises(Lost, "KILLED") as seen:
        async with GetLock(port=world.line_port).lock("lost") as guard:
            world.eye.kill(guard.session)
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                assert guard.lost.is_set() and not guard.held() and guard.why.symbol == "KILLED"
                ended.append(1)
                raise
    assert seen[0] is guard.why and ended
    await asyncio.sleep(0.01)  # Nothing is left of the cancellation.
    with raises(Lost, "KILLED"):
        async with guard:
            raise AssertionError("a block without the lock")
    with raises(Lost, "KILLED"):
        async with GetLock(port=world.line_port).lock("lost") as guard:
            world.eye.kill(guard.session)
            with raises(asyncio.CancelledError):
                await asyncio.sleep(20)
    await asyncio.sleep(0.01)
    await _odd_words()


async def _odd_words():
    """The lock is lost before its time is over, and nobody can hold up the client by sending."""
    for then in ODD_WORDS:
        with LineStub(answers=2, then=then) as stub:
            guard = await GetLock(port=stub.port).acquire("odd")
            await asyncio.wait_for(guard.lost.wait(), 20)
            assert time.monotonic() - stub.asked[1] < 0.5, guard.why
            assert not guard.held() and await guard.release() is False
            await soon(stub.closed.is_set, "the end of the connection")


async def lost_and_raised(world):
    locks = GetLock(port=world.line_port)
    for cause in None, ValueError("before"):
        with raises(Failure) as seen:
            async with locks.lock("raised") as guard:
                world.eye.kill(guard.session)
                try:
                    await asyncio.sleep(20)
                finally:
                    raise Failure("mine") from cause
        error = seen[0] if cause is None else cause
        assert error.__cause__ is guard.why and isinstance(guard.why, Lost)
        await asyncio.sleep(0.01)


async def release_after_loss(world):
    locks = GetLock(port=world.line_port)
    for waits in True, False:
        guard = await locks.acquire("release", 5)
        world.eye.kill(guard.session)
        if waits:
            await asyncio.wait_for(guard.lost.wait(), 20)
        assert await guard.release() is False and guard.why.symbol == "KILLED" and guard.lost.is_set()
        assert await guard.release() is False, "again"
    with LineStub(answers=1000, says=DRAINED) as stub:
        for _ in range(50):
            guard = await GetLock(port=stub.port).acquire("drained")
            assert await guard.release() is True and guard.why is None


async def guard_as_block(world):
    locks = GetLock(port=world.line_port)
    async with await locks.acquire("guard") as guard:
        assert guard.held()
    assert world.eye.is_free("guard")
    with raises(RuntimeError):
        async with guard:
            raise AssertionError("a block of what is released")
    async with await locks.acquire("guard") as guard:
        await guard.release()
    with raises(Lost, "KILLED"):
        async with await locks.acquire("guard") as guard:
            world.eye.kill(guard.session)


if __name__ == "__main__":
    granting = [acquire, try_lock, nothing_is_no_block, not_granted, body_needs_the_lock, decorator_needs_the_lock]
    granting += [body_result, shared, refused, server_away, killed_waiting, interrupted_waiting]
    granting.append(introduced)
    losing = [lost_in_the_body, lost_and_raised, release_after_loss, guard_as_block]
    kinds = steps_aio_cluster.STEPS + steps_aio_kinds.STEPS + steps_aio_server.STEPS
    run(granting + losing + steps_aio_ended.STEPS + steps_aio_timed.STEPS + kinds)
