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
import ssl
from typing import Optional

from ._aio_leases import Lease, Leases
from ._shared import ANSWER_TIME, Lost, NotGranted, Refused, Tries, clock
from ._tasks import Block, Connection, Handle, Keeper
from ._wire import Server, Talk, Wish

__all__ = ["GetLock", "Guard", "Lease", "Leases", "Lost", "NotGranted", "Refused"]


class GetLock:
    """A server. Nothing is connected before a lock is wanted.

    `tls` is an `ssl.SSLContext`. A server that is away is tried for `retry` seconds. `stop_within` is the time
    that the work needs to stop: a loss is reported so long before others can have the lock. By default it
    is two fifths of the time that the server promises.

    The lists of the server show `name` and `note`, of at most 256 characters each. By default the name is
    `user@host[pid] program`. With an empty name the client does not introduce itself.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
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

    async def acquire(self, name: str, timeout: Optional[float] = None, shared: bool = False) -> Guard:
        """Waits at most `timeout` seconds for the lock, by default forever, and raises `NotGranted` then."""
        return await self._take(Wish(name, timeout, shared))

    async def try_lock(self, name: str, shared: bool = False) -> Optional[Guard]:
        """The lock, or None if others hold it. Does not wait for it."""
        try:
            return await self._take(Wish(name, 0, shared))
        except NotGranted:
            return None

    def lock(self, name: str, timeout: Optional[float] = None, shared: bool = False) -> Block[Guard]:
        """For `async with locks.lock("nightly"):`, or `@locks.lock("nightly")` above an async function."""
        wish = Wish(name, timeout, shared)
        return Block(lambda: self._take(wish))

    async def _take(self, wish: Wish) -> Guard:
        """Nothing is held yet, so a wait that breaks may connect and queue again."""
        tries = Tries(wish.wait, self._server.retry)
        while True:
            talk, connection = self._server.talk(wish), Connection()
            try:
                await connection.open(self._server.host, self._server.port, self._server.tls, clock() + ANSWER_TIME)
                await _converse(connection, talk, tries.left())
                return Guard(wish.name, connection, talk)
            except BaseException as error:  # also a cancellation
                connection.close()
                pause = tries.pause_after(error, talk.was_heard)
                if pause is None:
                    raise
            await asyncio.sleep(pause)


async def _converse(connection: Connection, talk: Talk, wait: float) -> None:
    """Returns once the lock is granted, and promised from now on."""
    connection.send(talk.opening(wait))
    while not talk.is_answered:
        talk.hear(await connection.receive(talk.late_at()))
    if talk.term.is_over():  # The grant came later than the promise reaches.
        connection.send(talk.question())
        while talk.term.is_over():
            talk.hear(await connection.receive(talk.term.late_at()))


class Guard(Handle):
    """A lock that is held, by a connection of its own. `session` is the server's number of it."""

    def __init__(self, name: str, connection: Connection, talk: Talk) -> None:
        self.session = talk.session
        keeper = _Watch(name, connection, talk)
        super().__init__(name, talk.fencing_token, keeper)
        connection.listen(keeper)


class _Watch(Keeper):
    """Asks how long the lock is promised, and sees the end of the connection."""

    def __init__(self, name: str, connection: Connection, talk: Talk) -> None:
        super().__init__(name, talk.term)
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
