"""The steps of what is ended from outside, of processes, and of arguments; for the kind for asyncio."""
import asyncio
import gc
import math

from stage import Holder, Stub, in_a_child, is_free_without, raises, soon

from getlock.aio import GetLock, Leases, Lost


async def ended_while_waiting(world):
    locks, leases, ran = GetLock(port=world.line_port), Leases(world.url), []

    async def wait(block):
        async with block:
            ran.append(1)

    world.other.take("waiting")
    for block in locks.lock("waiting"), leases.lock("waiting"):
        waits = asyncio.create_task(wait(block))
        await soon(lambda: world.eye.waiters("waiting"), "the waiter")
        waits.cancel()
        with raises(asyncio.CancelledError):
            await waits
        await soon(lambda: not world.eye.waiters("waiting"), "the empty queue")
    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(locks.acquire("waiting"), 0.2)
    await soon(lambda: not world.eye.waiters("waiting"), "the empty queue")
    world.other.free("waiting")
    assert world.eye.is_free("waiting") and not ran


async def ended_as_granted(world):
    locks, leases = GetLock(port=world.line_port), Leases(world.url)

    async def take(server):
        guard = await server.acquire("granted")
        try:
            await asyncio.sleep(20)
        finally:
            assert await guard.release() is True

    for number in range(40):
        world.other.take("granted")
        takes = asyncio.create_task(take(leases if number % 2 else locks))
        await soon(lambda: world.eye.waiters("granted"), "the waiter")
        world.other.free("granted")
        await asyncio.sleep(number % 20 * 0.0001)
        takes.cancel()
        with raises(asyncio.CancelledError):
            await takes
        await soon(lambda: world.eye.is_free("granted"), f"the end of the lock, in round {number},")
    assert not world.eye.waiters("granted")
    # A guard that nobody has seen is freed.
    acquires = asyncio.create_task(locks.acquire("granted"))
    await asyncio.wait({acquires})
    assert not world.eye.is_free("granted")
    del acquires
    gc.collect()
    await soon(lambda: world.eye.is_free("granted"), "the end of the lock")


async def ended_while_holding(world):
    locks, guards = GetLock(port=world.line_port), []

    async def hold():
        async with locks.lock("holding") as guard:
            guards.append(guard)
            await asyncio.sleep(20)

    for is_lost_too in False, True:
        holds = asyncio.create_task(hold())
        await soon(lambda: not world.eye.is_free("holding"), "the holder")
        if is_lost_too:
            world.eye.kill(world.eye.holder("holding"))
            await guards[-1].lost.wait()
            holds.cancel()
        else:
            holds.cancel()
        kind = asyncio.CancelledError if _cancellations_are_counted() or not is_lost_too else Lost
        with raises(kind):
            await holds
        assert world.eye.is_free("holding")


def _cancellations_are_counted():
    return hasattr(asyncio.Task, "cancelling")


async def fork_leaves(world):
    """A child cannot run the loop, and need not: nothing in it waits."""

    def is_done(coroutine, result):
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value is result

    guard = await GetLock(port=world.line_port).acquire("fork-leaves")
    async with guard:
        assert in_a_child(lambda: not guard.held() and guard.lost.is_set() and guard.why is None)
        assert in_a_child(lambda: is_done(guard.release(), False))
        assert in_a_child(lambda: is_done(guard.__aexit__(None, None, None), None))
        await asyncio.sleep(0.1)
        assert guard.held() and world.eye.holder("fork-leaves") == str(guard.session)
        assert await guard.release() is True
    assert world.eye.is_free("fork-leaves")


async def fork_exits(world):
    holder = Holder(world.line_port, "fork-exits", "exits", "aio")
    assert holder.said() == "True", "it holds the lock"
    assert not world.eye.is_free("fork-exits")
    holder.tell()
    assert holder.said() == "True", "its release"
    assert world.eye.is_free("fork-exits")
    holder.kill()


async def fork_outlives(world):
    is_free_without(Holder(world.line_port, "fork-outlives", "child", "aio"), world, "fork-outlives")


async def close_on_exec(world):
    is_free_without(Holder(world.line_port, "close-on-exec", "command", "aio"), world, "close-on-exec")


async def forever(world):
    locks = GetLock(port=world.line_port)
    for timeout in None, math.inf, -1, -math.inf, 1e300, 2**63, 10**400:
        world.other.take("forever")
        waits = asyncio.create_task(locks.acquire("forever", timeout))
        await soon(lambda: world.eye.waiters("forever"), "the waiter")
        world.other.free("forever")
        assert await (await waits).release() is True


async def _called(take, *args, **kwargs):
    """`lock` checks at once, `acquire` when it is awaited."""
    result = take(*args, **kwargs)
    if asyncio.iscoroutine(result):
        await result


async def wrong_timeouts(world):
    with Stub() as stub:
        locks, leases = GetLock(port=stub.port), Leases(stub.url)
        for wrong in math.nan, "10", "", True, False, b"1", [1], 1j, object():
            for take in locks.acquire, locks.lock, leases.acquire, leases.lock:
                with raises(ValueError if wrong is math.nan else TypeError):
                    await _called(take, "wrong", wrong)
            with raises((TypeError, ValueError)):
                GetLock(port=stub.port, stop_within=wrong)
        assert stub.connections == 0


async def wrong_arguments(world):
    with Stub() as stub:
        locks, leases = GetLock(port=stub.port), Leases(stub.url)
        for take in locks.acquire, locks.lock, leases.acquire, leases.lock:
            with raises(TypeError):
                await _called(take, 10, "nightly")
            with raises(TypeError):
                await _called(take, "nightly", 10, shared="yes")
        for name in None, 7, b"nightly", {"nightly"}, ["nightly", 7]:
            for take in locks.acquire, locks.try_lock, locks.lock, leases.acquire, leases.try_lock:
                with raises(TypeError):
                    await _called(take, name)
        for take in locks.acquire, locks.try_lock, locks.lock, leases.acquire, leases.try_lock:
            with raises(ValueError):
                await _called(take, "half\ud83d")
        assert stub.connections == 0


STEPS = [ended_while_waiting, ended_as_granted, ended_while_holding, fork_leaves, fork_exits, fork_outlives]
STEPS += [close_on_exec, forever, wrong_timeouts, wrong_arguments]
