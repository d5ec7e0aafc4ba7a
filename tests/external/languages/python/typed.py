"""A program whose types are checked, and which is never run: all of the interface, as it is used."""
from __future__ import annotations

import asyncio
import ssl
import threading
from typing import NoReturn, Optional

import getlock
from getlock import aio

SERVERS = (
    getlock.GetLock(),
    getlock.GetLock(name="web-1", note="backup"),
    getlock.GetLock("127.0.0.1", 3305, "web", "secret", ssl.create_default_context(), retry=5, stop_within=2.5),
)


def report(why: Optional[getlock.Lost]) -> str:
    return "" if why is None else f"{why.symbol or 'no reason'}: {why}"


def threads(locks: getlock.GetLock, leases: getlock.Leases) -> int:
    with locks.lock("nightly", timeout=10) as guard:
        number: int = guard.fencing_token + guard.session
        event: threading.Event = guard.lost
        if event.is_set() or not guard.held():
            print(report(guard.why), guard.name)
    maybe: Optional[getlock.Guard] = locks.try_lock("nightly", shared=True)
    if maybe is not None:
        with maybe as same:
            released: bool = same.release()
            print(released)
    with leases.lock("nightly", 10, ttl=30, client="web-1", note="backup") as lease:
        print(lease.lease_token, lease.fencing_token, lease.lost.wait(1))
    maybe_lease: Optional[getlock.Lease] = leases.try_lock("nightly")
    print(maybe_lease)
    return number


def kinds(locks: getlock.GetLock, leases: getlock.Leases) -> NoReturn:
    def tell(event: getlock.Event) -> None:
        print(event.kind, event.name, event.waiters or 0, event.fields["mode"])

    def lead(guard: getlock.Guard) -> None:
        print(guard.fencing_token, guard.lost.wait())

    with locks.lock(["a", "b"], on_waiter=tell) as both, leases.lock(("c", "d"), limit=None) as lease:
        names: tuple[str, ...] = both.names + lease.names
    permit: Optional[getlock.Guard] = locks.try_lock("gpu", limit=3)
    print(names, permit)
    with locks.watch("app/") as watch:
        for event in watch:
            tell(event)
    locks.lead("scheduler", lead)


async def kinds_too(locks: aio.GetLock) -> NoReturn:
    async def lead(guard: aio.Guard) -> str:
        return guard.name

    permit: aio.Guard = await locks.acquire("gpu", limit=3, on_waiter=print)
    print(permit)
    async for event in locks.watch():
        print(event.count, event.cause)
    await locks.lead("scheduler", lead)


@SERVERS[0].lock("nightly")
def decorated(rows: list[int]) -> int:
    return len(rows)


async def tasks(locks: aio.GetLock, leases: aio.Leases) -> int:
    async with locks.lock("nightly", timeout=None) as guard:
        number: int = guard.fencing_token + guard.session
        event: asyncio.Event = guard.lost
        if event.is_set() or not guard.held():
            print(report(guard.why), guard.name)
    maybe: Optional[aio.Guard] = await locks.try_lock("nightly", shared=True)
    if maybe is not None:
        async with maybe as same:
            released: bool = await same.release()
            print(released)
    async with leases.lock("nightly", 10, ttl=30, client="web-1", note="backup") as lease:
        print(lease.lease_token, lease.fencing_token, await lease.lost.wait())
    maybe_lease: Optional[aio.Lease] = await leases.try_lock("nightly")
    print(maybe_lease)
    return number


@aio.GetLock().lock("nightly")
async def decorated_too(rows: list[int]) -> int:
    return len(rows)


def main() -> int:
    try:
        total: int = decorated([1]) + threads(SERVERS[1], getlock.Leases(token="secret", retry=5, name=""))
        return total + asyncio.run(tasks(aio.GetLock(), aio.Leases("https://locks:3308", "web", "secret")))
    except getlock.NotGranted as error:
        late: TimeoutError = error
        print(late)
    except getlock.Lost as lost:
        refused: getlock.Refused = lost
        print(refused.symbol)
    # What is wrong is found: each of these would be an unused exception from the check if it were not.
    SERVERS[0].acquire(10, "nightly")  # type: ignore[arg-type]
    SERVERS[0].acquire("nightly", "10")  # type: ignore[arg-type]
    SERVERS[0].acquire("gpu", limit="3")  # type: ignore[arg-type]
    getlock.GetLock(name=7)  # type: ignore[arg-type]
    with SERVERS[0].try_lock("nightly"):  # type: ignore[union-attr]
        return decorated("rows")  # type: ignore[arg-type]
