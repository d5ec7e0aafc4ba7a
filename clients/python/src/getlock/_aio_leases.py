"""Leases, for the kind for asyncio."""
from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, Coroutine, Optional, Set

from ._shared import ANSWER_TIME, PARKED_TIME, TOO_LATE, Names, NotGranted, Refused, Silent, Tries, clock
from ._tasks import Block, Connection, Handle, Keeper
from ._wire import MOST_HEARD, Answer, Base, Hosts, Http, Loan


class Leases:
    """A server over HTTP, for programs that cannot keep a connection open. Heartbeats keep a lease.

    `url` has one base URL or, for the nodes of a cluster, several: with commas between, or a list.

    `tls` is an `ssl.SSLContext`, for an `url` that begins with https. `stop_within` is the time that the work
    needs to stop, by default a fifth of a lease: a loss is reported so long before others can have the lock.

    A server that is away is tried for `retry` seconds. A request whose answer was lost is sent again with the same id
    and gets the lease that was granted. `name` and `note` are those of `GetLock`.
    """

    def __init__(
        self,
        url: Hosts = "http://127.0.0.1:3308",
        user: Optional[str] = None,
        password: str = "",
        token: Optional[str] = None,
        tls: Optional[ssl.SSLContext] = None,
        stop_within: Optional[float] = None,
        retry: float = 30,
        name: Optional[str] = None,
        note: Optional[str] = None,
    ) -> None:
        self._server = Http(url, user, password, token, tls, retry, stop_within, name, note)

    async def acquire(
        self,
        name: Names,
        timeout: Optional[float] = None,
        ttl: float = 45,
        shared: bool = False,
        client: Optional[str] = None,
        note: Optional[str] = None,
        *,
        limit: Optional[int] = None,
    ) -> Lease:
        """Waits at most `timeout` seconds for the lock, by default forever, and raises `NotGranted` then.

        The lease runs for `ttl` seconds from each heartbeat. `client` and `note` are in place of the name and the
        note of this object. Several names are taken all or none. `limit` asks for a permit.
        """
        return await _take(Loan(self._server, name, timeout, ttl, shared, client, note, limit))

    async def try_lock(
        self,
        name: Names,
        ttl: float = 45,
        shared: bool = False,
        client: Optional[str] = None,
        note: Optional[str] = None,
        *,
        limit: Optional[int] = None,
    ) -> Optional[Lease]:
        """The lock, or None if others hold it. Does not wait for it."""
        try:
            return await self.acquire(name, 0, ttl, shared, client, note, limit=limit)
        except NotGranted:
            return None

    def lock(
        self,
        name: Names,
        timeout: Optional[float] = None,
        ttl: float = 45,
        shared: bool = False,
        client: Optional[str] = None,
        note: Optional[str] = None,
        *,
        limit: Optional[int] = None,
    ) -> Block[Lease]:
        """For `async with leases.lock("nightly"):`, or `@leases.lock("nightly")` above an async function."""

        def loan() -> Loan:
            return Loan(self._server, name, timeout, ttl, shared, client, note, limit)

        loan()  # Wrong arguments are an error here, and not where the block begins.
        return Block(lambda: _take(loan()))


class Lease(Handle):
    """A lock that is held by heartbeats. Anyone who has `lease_token` can release it."""

    def __init__(self, loan: Loan) -> None:
        self.lease_token = loan.lease_token
        super().__init__(loan.names, loan.fencing_token, _Heart(loan))


class _Exchange:
    """A request and its answer, on a connection of its own."""

    def __init__(self) -> None:
        self._heard = b""
        self.connection = Connection()

    async def open(self, server: Http, base: Base, until: float) -> None:
        connect_time = server.cluster.connect_time(ANSWER_TIME)
        await self.connection.open(base.host, base.port, server.tls, until, connect_time)

    async def ask(self, request: bytes, until: float) -> Answer:
        self.connection.send(request)
        return await self.answer(until)

    async def answer(self, until: float) -> Answer:
        more = True
        while more and len(self._heard) < MOST_HEARD:
            data = await self.connection.receive(until)
            self._heard += data
            more = bool(data)
        return Http.answer(self._heard)


async def _ask(server: Http, base: Base, request: bytes, until: float) -> Answer:
    exchange = _Exchange()
    try:
        await exchange.open(server, base, until)
        return await exchange.ask(request, until)
    finally:
        exchange.connection.close()


async def _take(loan: Loan) -> Lease:
    """A request whose answer was lost is sent again: the server knows it by its id."""
    tries = Tries(loan.server.cluster, loan.wait, loan.server.retry)
    while True:
        exchange, is_open = _Exchange(), False
        began = clock()
        try:
            loan.base = tries.address
            await exchange.open(loan.server, loan.base, began + PARKED_TIME)
            is_open = True
            return await _granted(loan, exchange, tries.left())
        except BaseException as error:  # also a cancellation
            if tries.is_answered(error):
                raise
            pause = tries.pause_for_lease(error, is_open, bool(loan.lease_token), began)
            if pause is None:
                if is_open:
                    await _give_up(loan, exchange)
                raise
        finally:
            exchange.connection.close()
        await asyncio.sleep(pause)


async def _granted(loan: Loan, exchange: _Exchange, left: float) -> Lease:
    loan.granted(await exchange.ask(loan.asking(left), loan.answer_until()))
    if loan.must_be_renewed():
        loan.renewed(await _ask(loan.server, loan.base, loan.beat(), loan.renewal_until()))
    if loan.term.is_over():
        raise Silent(TOO_LATE)
    loan.server.cluster.good = loan.base
    return Lease(loan)


async def _give_up(loan: Loan, exchange: _Exchange) -> None:
    """Leaves the queue. A grant that is on its way is given back, since nobody knows its token yet."""
    exchange.connection.half_close()
    with contextlib.suppress(OSError, Refused):
        if not loan.lease_token:
            loan.granted(await exchange.answer(clock() + 1))
        await _ask(loan.server, loan.base, loan.giving_back(), clock() + 1)


class _Heart(Keeper):
    """Sends the heartbeats."""

    def __init__(self, loan: Loan) -> None:
        super().__init__(loan.names, loan.term)
        self._loan = loan
        self._beating: Optional[asyncio.Task[None]] = None

    def ask(self) -> None:
        self._beating = self._loop.create_task(self._beat(self._loan.beat()))

    async def _beat(self, request: bytes) -> None:
        try:
            answer = await _ask(self._loan.server, self._loan.base, request, self._loan.beat_until())
            if self.is_held():  # An answer that comes too late is worth nothing.
                self._loan.renewed(answer)
        except OSError:
            self._loan.move_on()
            self.term.ask_again()
        except Exception as error:
            self.lose(error)
        self.tick()

    def ask_release(self) -> None:
        if self._beating:
            self._beating.cancel()
        _start(self._give_back(min(self.term.limit, clock() + ANSWER_TIME)))

    async def _give_back(self, until: float) -> None:
        try:
            self._loan.given_back(await _ask(self._loan.server, self._loan.base, self._loan.giving_back(), until))
            self.end()
        except Exception as error:
            self.lose(error)

    def drop(self) -> None:
        if not self.has_ended:
            self.end()
            self.ask_release()


_started: Set[asyncio.Task[None]] = set()  # A loop itself keeps no task alive.


def _start(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _started.add(task)
    task.add_done_callback(_started.discard)
