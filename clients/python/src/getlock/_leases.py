"""Leases, for the kind with threads."""
from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import Optional

from ._blocking import Block, Connection, Handle, Keeper, Quietly
from ._shared import ANSWER_TIME, PARKED_TIME, TOO_LATE, Names, NotGranted, Refused, Silent, Tries, clock
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

    def acquire(
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
        return _take(Loan(self._server, name, timeout, ttl, shared, client, note, limit))

    def try_lock(
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
            return self.acquire(name, 0, ttl, shared, client, note, limit=limit)
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
        """For `with leases.lock("nightly"):`, or `@leases.lock("nightly")` above a function."""

        def loan() -> Loan:
            return Loan(self._server, name, timeout, ttl, shared, client, note, limit)

        loan()  # Wrong arguments are an error here, and not where the block begins.
        return Block(lambda: _take(loan()))


class Lease(Handle):
    """A lock that is held by heartbeats. Anyone who has `lease_token` can release it."""

    def __init__(self, loan: Loan, address: str) -> None:
        self.lease_token = loan.lease_token
        super().__init__(loan.names, loan.fencing_token, _Heart(loan, address))


class _Exchange:
    """A request and its answer, on a connection of its own."""

    def __init__(self, server: Http, base: Base, until: float, address: Optional[str] = None) -> None:
        self._heard, self.address = bytearray(MOST_HEARD), ""
        connect_time = server.cluster.connect_time(ANSWER_TIME)
        self.connection = Connection(base.host, base.port, server.tls, until, connect_time, address)

    def ask(self, request: bytes, until: float) -> Answer:
        self.connection.send(request, clock() + ANSWER_TIME)
        return self.answer(until)

    def answer(self, until: float) -> Answer:
        """What has come is counted here, as a signal handler may have raised before anybody else could do so."""
        more = True
        while more:
            heard = self._heard.rstrip(b"\0")
            more = self.connection.receive_into(memoryview(self._heard)[len(heard) :], until)
        return Http.answer(heard)


def _ask(server: Http, base: Base, request: bytes, until: float, address: Optional[str]) -> Answer:
    exchange = _Exchange(server, base, until, address)
    try:
        return exchange.ask(request, until)
    finally:
        exchange.connection.close()


def _take(loan: Loan) -> Lease:
    """A request whose answer was lost is sent again: the server knows it by its id."""
    tries = Tries(loan.server.cluster, loan.wait, loan.server.retry)
    while True:
        exchange: Optional[_Exchange] = None
        began = clock()
        try:
            loan.base = tries.address
            exchange = _Exchange(loan.server, loan.base, began + PARKED_TIME)
            return _granted(loan, exchange, tries.left())
        except BaseException as error:  # also what a signal handler raises
            if tries.is_answered(error):
                raise
            pause = tries.pause_for_lease(error, exchange is not None, bool(loan.lease_token), began)
            if pause is None:
                if exchange is not None:
                    _give_up(loan, exchange)
                raise
        finally:
            if exchange is not None:
                exchange.connection.close()
        time.sleep(pause)


def _granted(loan: Loan, exchange: _Exchange, left: float) -> Lease:
    # All heartbeats go where the lease is, and wait for no answer about the name of the host.
    exchange.address = exchange.connection.socket.getpeername()[0]
    loan.granted(exchange.ask(loan.asking(left), loan.answer_until()))
    if loan.must_be_renewed():
        loan.renewed(_ask(loan.server, loan.base, loan.beat(), loan.renewal_until(), exchange.address))
    if loan.term.is_over():
        raise Silent(TOO_LATE)
    loan.server.cluster.good = loan.base
    return Lease(loan, exchange.address)


def _give_up(loan: Loan, exchange: _Exchange) -> None:
    """Leaves the queue. A grant that is on its way is given back, since nobody knows its token yet."""
    exchange.connection.end(socket.SHUT_WR)
    with contextlib.suppress(NotGranted, Refused), Quietly():
        if not loan.lease_token:
            loan.granted(exchange.answer(clock() + 1))
        _ask(loan.server, loan.base, loan.giving_back(), clock() + 1, exchange.address)


class _Heart(Keeper):
    """A thread that sends the heartbeats."""

    def __init__(self, loan: Loan, address: str) -> None:
        super().__init__(loan.names, loan.term)
        self._loan, self._addresses = loan, {loan.base: address}
        self._wake, self._is_dropped = threading.Event(), False

    def end(self) -> None:
        self.has_ended = True
        self._wake.set()

    def drop(self) -> None:
        """The thread gives the lease back."""
        self._is_dropped = not self.has_ended
        self.end()

    def _run(self) -> None:
        try:
            while not self._wake.wait(self.term.nap()):
                why = self.why()
                if why is not None:
                    self.lose(why)
                elif self.term.is_due():
                    self._beat()
        except BaseException as error:
            self.lose(error)
        if self._is_dropped:
            with contextlib.suppress(OSError):
                self._ask(self._loan.giving_back(), clock() + ANSWER_TIME)

    def _beat(self) -> None:
        try:
            answer = self._ask(self._loan.beat(), self._loan.beat_until())
            with self._alone:
                if self.is_held():  # An answer that comes too late is worth nothing.
                    self._loan.renewed(answer)
        except OSError:
            self._loan.move_on()
            self.term.ask_again()

    def release_by(self, until: float) -> None:
        self._loan.given_back(self._ask(self._loan.giving_back(), until))

    def _ask(self, request: bytes, until: float) -> Answer:
        base = self._loan.base
        return _ask(self._loan.server, base, request, until, self._addresses.get(base))
