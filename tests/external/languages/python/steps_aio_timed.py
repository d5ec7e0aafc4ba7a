"""The steps of what happens in time, against stubs of a server, and of leases; for the kind for asyncio."""
import asyncio
import os
import socket
import time

from stage import ODD_GRANTS, LeaseStub, LineStub, LosingProxy, raises, soon

from getlock.aio import GetLock, Leases, Lost, NotGranted


async def told_in_time(world):
    with LineStub(answers=3) as stub:
        with raises(Lost) as seen:
            async with GetLock(port=stub.port).lock("told") as guard:
                assert guard.session == 7 and guard.fencing_token == 8
                with raises(asyncio.CancelledError):
                    await asyncio.sleep(20)
                assert time.monotonic() - stub.asked[2] < 1
                assert guard.lost.is_set() and not guard.held() and guard.why.symbol is None
                await soon(stub.closed.is_set, "the end of the connection")
        assert seen[0] is guard.why and await guard.release() is False
    with LineStub(answers=1000) as stub:
        with raises(ValueError):
            await GetLock(port=stub.port, stop_within=0.8).acquire("told")
        await soon(stub.closed.is_set, "the end of the connection")
        async with GetLock(port=stub.port, stop_within=0.7).lock("told") as guard:
            await asyncio.sleep(1.5)
            assert guard.held(), "as long as it is answered"


async def held_in_time(world):
    with LineStub(answers=3) as stub:
        guard = await GetLock(port=stub.port, stop_within=0).acquire("held")
        await soon(lambda: len(stub.asked) == 3, "the third question")
        assert guard.held()
        time.sleep(max(0, stub.asked[2] + 1 - time.monotonic()))  # The loop sees nothing.
        assert guard.lost.is_set() and guard.why.symbol is None
        assert not guard.held()


async def open_to_the_end(world):
    for stays in True, False:
        with LineStub(answers=3) as stub:
            with raises(Lost):
                async with GetLock(port=stub.port).lock("open"):
                    with raises(asyncio.CancelledError):
                        await asyncio.sleep(20)
                    if stays:
                        await soon(stub.closed.is_set, "the body goes on; the end of the second")
                        assert stub.closed_at - stub.asked[2] > 0.8
            await soon(stub.closed.is_set, "the end of the connection")
    # Of a guard that is dropped, or released, too.
    for is_dropped in True, False:
        with LineStub(answers=3) as stub:
            guard = await GetLock(port=stub.port).acquire("open")
            await asyncio.wait_for(guard.lost.wait(), 20)
            assert not stub.closed.is_set()
            if is_dropped:
                del guard
            else:
                assert await guard.release() is False
            await soon(stub.closed.is_set, "the end of the connection")


async def late_grant(world):
    with LineStub(answers=1, grant_after=1.2) as stub:
        with raises(OSError) as seen:
            await GetLock(port=stub.port).acquire("late", timeout=1)
        assert not isinstance(seen[0], NotGranted) and len(stub.asked) > 1
        await soon(stub.closed.is_set, "the end of the connection")


async def questions_in_a_wait(world):
    with LineStub(answers=1000, grant_after=1.2) as stub:
        guard = await GetLock(port=stub.port).acquire("questions", timeout=10)
        assert guard.held() and guard.fencing_token == 8
        assert await guard.release() is True


async def lease(world):
    leases = Leases(world.url)
    async with leases.lock("lease", 5, ttl=1, client="web-1", note="backup") as taken:
        start = time.monotonic()
        while time.monotonic() - start < 3:
            assert taken.held() and not taken.lost.is_set() and taken.why is None
            assert not world.eye.is_free("lease")
            await asyncio.sleep(0.1)
        assert isinstance(taken.fencing_token, int) and len(taken.lease_token) == 32
        assert await taken.release() is True
        assert world.eye.is_free("lease")
    async with await leases.acquire("lease", shared=True) as one, await leases.try_lock("lease", shared=True) as two:
        assert two.fencing_token > one.fencing_token
    assert world.eye.is_free("lease")


async def lease_not_granted(world):
    leases, ran = Leases(world.url), []
    world.other.take("busy")
    assert await leases.try_lock("busy") is None
    for timeout in 0, 0.1:
        with raises(NotGranted):
            async with leases.lock("busy", timeout):
                ran.append(1)
    for odd in ODD_GRANTS:
        with LeaseStub({"acquire": odd}) as stub:
            with raises(OSError):
                async with Leases(stub.url).lock("odd"):
                    ran.append(1)
    assert not ran


async def lease_lost(world):
    with raises(Lost, "NotFound"):
        async with Leases(world.url).lock("lease-lost", ttl=1) as taken:
            world.eye.kill(world.eye.holder("lease-lost"))
            with raises(asyncio.CancelledError):
                await asyncio.sleep(20)
            assert taken.lost.is_set() and not taken.held() and taken.why.symbol == "NotFound"
    assert await taken.release() is False


async def lease_in_time(world):
    with LeaseStub() as stub:
        with raises(Lost):
            async with Leases(stub.url).lock("lease-in-time", ttl=1) as taken:
                with raises(asyncio.CancelledError):
                    await asyncio.sleep(20)
                assert time.monotonic() - stub.beats[0] < 1
                assert taken.lost.is_set() and not taken.held() and taken.why.symbol is None
    with LeaseStub({"heartbeat": {"success": False}}) as stub:
        lease = await Leases(stub.url).acquire("no-success", ttl=1)
        await asyncio.sleep(0.9)
        assert not lease.held() and len(stub.beats) > 1, "a heartbeat that is no success renews nothing"


async def lease_introduced(world):
    leases = Leases(world.url, name="web-1", note="backup")
    async with leases.lock("lease-introduced"):
        assert "client=web-1 note=backup" in world.eye.row("lease-introduced")
    async with leases.lock("lease-introduced", client="web-2", note="repair") as taken:
        assert "client=web-2 note=repair" in world.eye.row("lease-introduced")
        assert repr(taken) == f"<Lease 'lease-introduced' fencing_token={taken.fencing_token} held=True>"
    async with Leases(world.url).lock("lease-introduced"):
        assert f"@{socket.gethostname()}[{os.getpid()}] " in world.eye.row("lease-introduced")
    async with Leases(world.url, name="").lock("lease-introduced"):
        assert "client=" not in world.eye.row("lease-introduced")
    for wrong in {"client": "n" * 257}, {"note": "n" * 257}:
        with raises(ValueError):
            await leases.acquire("lease-introduced", **wrong)


async def lease_asked_again(world):
    with LosingProxy(world.url) as proxy:
        taken = await Leases(proxy.url).acquire("lease-again", timeout=0)
        assert taken.held() and len(proxy.requests) == 2
        ids = [request["requestId"] for request in proxy.requests]
        assert ids[0] == ids[1] and 16 <= len(ids[0]) <= 64
        assert world.eye.row("lease-again")
        assert await taken.release() is True and world.eye.is_free("lease-again")
        later = await Leases(proxy.url).acquire("lease-again", timeout=0)
        assert proxy.requests[2]["requestId"] != ids[0]
        assert await later.release() is True


STEPS = [told_in_time, held_in_time, open_to_the_end, late_grant, questions_in_a_wait]
STEPS += [lease, lease_not_granted, lease_lost, lease_in_time, lease_introduced, lease_asked_again]
