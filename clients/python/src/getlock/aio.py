"""Locks of getlockd, for asyncio.

    locks = GetLock("127.0.0.1", 3305)
    async with locks.lock("nightly", timeout=10) as guard:
        await work(guard.fencing_token)

The block does not run without the lock: `NotGranted` is raised if others hold it for longer than `timeout`.
A block whose lock is lost is cancelled there and then, as by `asyncio.timeout`, and ends with `Lost`. Each guard
has a connection of its own, on which the event loop asks the server for how long the lock is promised. Code that
holds up the loop holds up these questions too: the lock is lost if no answer comes in time. The connection then
stays open while the block stops, but no longer than the lock was promised.
"""
from __future__ import annotations

import asyncio
import math
import ssl
from typing import Awaitable, Callable, NoReturn, Optional, Tuple

from ._aio_leases import Lease, Leases
from ._aio_observers import Watch
from ._events import Event
from ._shared import TOO_LATE, Broken, Lost, Names, NotGranted, Refused, Silent, Tries, check_callback
from ._tasks import Block, Connection, Handle, Keeper, reach
from ._wire import Address, Hosts, Server, Talk, Wish

__all__ = ["Event", "GetLock", "Guard", "Lease", "Leases", "Lost", "NotGranted", "Refused", "Watch"]

OnWaiter = Optional[Callable[[Event], object]]


class GetLock:
    """A server, or a cluster of them. Nothing is connected before a lock is wanted.

    `host` has one address or, for a cluster, several: `"a:3305,b:3305"`, or a list. `port` is that of those without
    one. If a node does not answer or cannot serve, the next one is tried. The last good one is the first.

    `tls` is an `ssl.SSLContext`. A server that is away is tried for `retry` seconds. `stop_within` is the time
    that the work needs to stop: a loss is reported so long before others can have the lock. By default it
    is two fifths of the time that the server promises. In a cluster it is a fifth of the longest promise, and
    at most three tenths of it.

    The lists of the server show `name` and `note`, of at most 256 characters each. By default the name is
    `user@host[pid] program`. With an empty name the client does not introduce itself.
    """

    def __init__(
        self,
        host: Hosts = "127.0.0.1",
        port: int = 3305,
        user: Optional[str] = None,
        password: str = "",
        tls: Optional[ssl.SSLContext] = None,
        retry: float = 30,
        stop_within: Optional[float] = None,
        name: Optional[str] = None,
        note: Optional[str] = None,
    ) -> None:
        self._server = Server(host, port, user, password, tls, retry, stop_within, name, note)

    async def acquire(
        self,
        name: Names,
        timeout: Optional[float] = None,
        shared: bool = False,
        *,
        limit: Optional[int] = None,
        on_waiter: OnWaiter = None,
    ) -> Guard:
        """Waits at most `timeout` seconds for the lock, by default forever, and raises `NotGranted` then.

        With a list of names it takes all of them or none, in one wait that holds nothing. With a `limit` it takes a
        permit: at most so many sessions hold the lock together. `on_waiter` is called with an `Event` when another
        session begins to wait for what the guard holds, on the event loop.
        """
        return await self._take(_wish(name, timeout, shared, limit, on_waiter))

    async def try_lock(
        self, name: Names, shared: bool = False, *, limit: Optional[int] = None, on_waiter: OnWaiter = None
    ) -> Optional[Guard]:
        """The lock, or None if others hold it. Does not wait for it."""
        try:
            return await self._take(_wish(name, 0, shared, limit, on_waiter))
        except NotGranted:
            return None

    def lock(
        self,
        name: Names,
        timeout: Optional[float] = None,
        shared: bool = False,
        *,
        limit: Optional[int] = None,
        on_waiter: OnWaiter = None,
    ) -> Block[Guard]:
        """For `async with locks.lock("nightly"):`, or `@locks.lock("nightly")` above an async function."""
        wish = _wish(name, timeout, shared, limit, on_waiter)
        return Block(lambda: self._take(wish))

    async def lead(self, name: str, body: Callable[[Guard], Awaitable[object]]) -> NoReturn:
        """Leader election: runs `body(guard)` while this process holds the lock, and again when it holds it again.

        When leadership is lost, the body is cancelled. A body that ends by itself releases the lock. In both cases this
        process is then a candidate again, behind the others, and its next term has a new fencing token. The election
        ends with an error that a body raises, unless that is the `Lost` itself. A server that cannot be reached ends it
        within `retry` seconds of the first try. Once the server has answered it is tried forever.
        """
        wish, has_led = _wish(name, None, False, None, None), False
        while True:
            guard = await self._take(wish, self._server.tries(math.inf, outlasts=True, is_known=has_led))
            has_led = True
            try:
                async with guard:
                    await body(guard)
            except Lost as lost:
                if lost is not guard.why:
                    raise

    def watch(self, prefix: str = "") -> Watch:
        """What happens to the locks whose names begin with `prefix`: `async for event in locks.watch("app/")`."""
        return Watch(self._server, prefix)

    async def _take(self, wish: Wish, tries: Optional[Tries[Address]] = None) -> Guard:
        async def converse(connection: Connection, talk: Talk) -> Guard:
            await _converse(connection, talk, patience.left())
            return Guard(wish.names, connection, talk)

        patience = tries or self._server.tries(wish.wait)
        return await reach(self._server, patience, lambda: self._server.talk(wish), converse)


def _wish(
    name: Names, timeout: Optional[float], shared: bool, limit: Optional[int], on_waiter: OnWaiter
) -> Wish:
    check_callback("on_waiter", on_waiter)
    tell = on_waiter and (lambda event: asyncio.get_running_loop().call_soon(on_waiter, event))
    return Wish(name, timeout, shared, limit, tell)


async def _converse(connection: Connection, talk: Talk, wait: float) -> None:
    """Returns once the lock is granted, and promised from now on."""
    connection.send(talk.opening(wait))
    while not talk.is_answered:
        try:
            talk.hear(await connection.receive(talk.look_at()))
        except Silent:
            question = talk.asks_again()
            if not question:
                raise
            connection.send(question)
    if talk.term.is_over():  # The grant came later than the promise reaches.
        connection.send(talk.question())
        while talk.term.is_asked():
            talk.hear(await connection.receive(talk.term.late_at()))
        if talk.term.is_over():
            raise Broken(TOO_LATE)


class Guard(Handle):
    """A lock that is held, or several, by a connection of its own. `session` is the server's number of it."""

    def __init__(self, names: Tuple[str, ...], connection: Connection, talk: Talk) -> None:
        self.session = talk.session
        keeper = _Vigil(names, connection, talk)
        super().__init__(names, talk.fencing_token, keeper)
        connection.listen(keeper)


class _Vigil(Keeper):
    """Asks how long the lock is promised, and sees the end of the connection."""

    def __init__(self, names: Tuple[str, ...], connection: Connection, talk: Talk) -> None:
        super().__init__(names, talk.term)
        self._connection, self._talk = connection, talk

    def heard(self, data: bytes) -> None:
        """The next line is an answer, or the reason of the end, or the end."""
        if self.has_ended:
            return
        if self.why() is not None and data:  # An answer that comes too late is worth nothing.
            self.tick()
            return
        try:
            self._talk.hear(data)
        except Exception as error:
            self.lose(error)
        else:
            if self._talk.is_released:
                self.end()

    def expire(self, why: Lost) -> None:
        """Maybe only the answers are missing. At the end of the connection the server would free the lock at once."""
        rest = self.term.rest()
        if self._is_releasing or not rest:
            self.lose(why)
        else:
            self.tell()
            self._timer = self._loop.call_later(rest, self.tick)

    def ask(self) -> None:
        self._connection.send(self._talk.question())

    def ask_release(self) -> None:
        self._connection.send(self._talk.release())

    def end(self) -> None:
        super().end()
        self._connection.close()
