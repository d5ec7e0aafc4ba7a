"""Locks of getlockd, for programs with threads. `getlock.aio` has the same for asyncio.

    locks = GetLock("127.0.0.1", 3305)
    with locks.lock("nightly", timeout=10) as guard:
        for row in rows:
            if guard.lost.is_set():
                break
            write(row, guard.fencing_token)

The block does not run without the lock: `NotGranted` is raised if others hold it for longer than `timeout`.
A block whose lock was lost ends with `Lost`. Each guard has a connection of its own, and a thread that asks
the server for how long the lock is promised. Without an answer the lock is lost in time, by this machine's clock.
The connection then stays open while the block stops, but no longer than the lock was promised.
"""
from __future__ import annotations

import math
import selectors
import ssl
from typing import Callable, NoReturn, Optional, Tuple

from ._blocking import NOTHING_YET, Block, Connection, Handle, Keeper, Quietly, Selector, reach
from ._events import Event
from ._leases import Lease, Leases
from ._observers import Teller, Watch
from ._shared import (
    ANSWER_TIME,
    PARKED_TIME,
    TOO_LATE,
    Broken,
    Lost,
    Names,
    NotGranted,
    Refused,
    Silent,
    Tries,
    check_callback,
    clock,
)
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

    def acquire(
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
        session begins to wait for what the guard holds, by a thread of its own.
        """
        return self._take(_wish(name, timeout, shared, limit, on_waiter))

    def try_lock(
        self, name: Names, shared: bool = False, *, limit: Optional[int] = None, on_waiter: OnWaiter = None
    ) -> Optional[Guard]:
        """The lock, or None if others hold it. Does not wait for it."""
        try:
            return self._take(_wish(name, 0, shared, limit, on_waiter))
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
        """For `with locks.lock("nightly"):`, or `@locks.lock("nightly")` above a function."""
        wish = _wish(name, timeout, shared, limit, on_waiter)
        return Block(lambda: self._take(wish))

    def lead(self, name: str, body: Callable[[Guard], object]) -> NoReturn:
        """Leader election: runs `body(guard)` while this process holds the lock, and again when it holds it again.

        When leadership is lost, `guard.lost` is set. A body that ends by itself releases the lock. In both cases this
        process is then a candidate again, behind the others, and its next term has a new fencing token. The election
        ends with an error that a body raises, unless that is the `Lost` itself. A server that cannot be reached ends it
        within `retry` seconds of the first try. Once the server has answered it is tried forever.
        """
        wish, has_led = _wish(name, None, False, None, None), False
        while True:
            guard = self._take(wish, self._server.tries(math.inf, outlasts=True, is_known=has_led))
            has_led = True
            try:
                with guard:
                    body(guard)
            except Lost as lost:
                if lost is not guard.why:
                    raise

    def watch(self, prefix: str = "") -> Watch:
        """What happens to the locks whose names begin with `prefix`: `for event in locks.watch("app/")`."""
        return Watch(self._server, prefix)

    def _take(self, wish: Wish, tries: Optional[Tries[Address]] = None) -> Guard:
        def converse(connection: Connection, talk: Talk) -> Guard:
            _converse(connection, talk, patience.left())
            return Guard(wish.names, connection, talk)

        patience = tries or self._server.tries(wish.wait)
        return reach(self._server, patience, lambda: self._server.talk(wish), converse)


def _wish(
    name: Names, timeout: Optional[float], shared: bool, limit: Optional[int], on_waiter: OnWaiter
) -> Wish:
    check_callback("on_waiter", on_waiter)
    return Wish(name, timeout, shared, limit, on_waiter and Teller(on_waiter).tell)


def _converse(connection: Connection, talk: Talk, wait: float) -> None:
    """Returns once the lock is granted, and promised from now on."""
    connection.send(talk.opening(wait), clock() + PARKED_TIME)
    while not talk.is_answered:
        try:
            talk.hear(connection.receive(talk.look_at()))
        except Silent:
            question = talk.asks_again()
            if not question:
                raise
            connection.send(question, clock() + ANSWER_TIME)
    if talk.term.is_over():  # The grant came later than the promise reaches.
        connection.send(talk.question(), clock() + ANSWER_TIME)
        while talk.term.is_asked():
            talk.hear(connection.receive(talk.term.late_at()))
        if talk.term.is_over():
            raise Broken(TOO_LATE)


class Guard(Handle):
    """A lock that is held, or several, by a connection of its own. `session` is the server's number of it."""

    def __init__(self, names: Tuple[str, ...], connection: Connection, talk: Talk) -> None:
        self.session = talk.session
        super().__init__(names, talk.fencing_token, _Vigil(names, connection, talk))


class _Vigil(Keeper):
    """A thread that asks how long the lock is promised, and sees the end of the connection."""

    def __init__(self, names: Tuple[str, ...], connection: Connection, talk: Talk) -> None:
        super().__init__(names, talk.term)
        self._connection, self._talk = connection, talk

    def end(self) -> None:
        """The thread sees this, and closes what only it may close while it waits there."""
        self.has_ended = True
        self._connection.end()

    def _run(self) -> None:
        try:
            with Selector() as selector:
                selector.register(self._connection.socket, selectors.EVENT_READ)
                while not self.has_ended:
                    selector.select(self.term.rest() if self.lost.is_set() else self.term.nap())
                    with self._alone:  # TLS cannot be read and written at once.
                        if not self.has_ended:
                            self._look()
        except BaseException as error:
            self.lose(error)
        finally:
            self._connection.close()

    def _look(self) -> None:
        try:
            while self.term.rest():
                data = self._connection.receive_now()
                if self.why() is not None and data:  # An answer that comes too late is worth nothing.
                    break
                self._talk.hear(data)
        except NOTHING_YET:
            pass
        why = self.why()
        if why is not None and self.term.rest():
            # Maybe only the answers are missing. At the end of the connection the server would free the lock at once.
            self.lost.set()
        elif why is not None:
            self.lose(why)
        elif self.term.is_due():
            with Quietly():
                self._connection.send_now(self._talk.question())

    def release_by(self, until: float) -> None:
        with Quietly():  # The reason of the end may wait to be read.
            self._connection.send(self._talk.release(), until)
        while not self._talk.is_released:
            self._talk.hear(self._connection.receive(until))
