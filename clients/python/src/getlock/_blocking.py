"""What the locks and the leases of the kind with threads share."""
from __future__ import annotations

import functools
import inspect
import selectors
import socket
import ssl
import threading
import time
import weakref
from types import TracebackType
from typing import Any, Callable, Generic, Optional, Sequence, Tuple, Type, TypeVar, cast

from . import _shared
from ._shared import (
    ANSWER_TIME,
    NO_ANSWER,
    Broken,
    Lost,
    Refused,
    Silent,
    Tries,
    blame,
    clock,
    is_of_the_network,
    set_up,
    shown,
    tracked,
)
from ._wire import Address, Dialogue, Server

F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H", bound="Handle")
D = TypeVar("D", bound=Dialogue)
R = TypeVar("R")
NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
LONGEST_TIMEOUT = 1e6  # seconds; a socket takes no more than 2^31 milliseconds


class Timed:
    """Tells a socket's own time-out from a TimeoutError that a signal handler has raised, by the clock."""

    def __init__(self, until: float) -> None:
        self._until = until

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: Optional[BaseException], _trace: object) -> None:
        if isinstance(error, socket.timeout) and error.errno is None and clock() > self._until - 0.01:
            raise Silent(NO_ANSWER) from None


class Quietly:
    """Errors of the network show elsewhere: in reading, or in time."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: Optional[BaseException], _trace: object) -> bool:
        return is_of_the_network(error)


class Connection:
    """A socket. Reading has a time by which something must have come."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: Optional[ssl.SSLContext],
        until: float,
        connect_time: float,
        address: Optional[str] = None,
    ) -> None:
        """The handshake of TLS has until `until`: a cluster without a leader answers none."""
        self.socket = _connected(address or host, port, min(until, clock() + connect_time))
        try:
            set_up(self.socket)
            if tls:
                self.socket = wrapped = tracked(lambda: _wrapped(tls, self.socket, host))
                self._set_timeout(until)
                with Timed(until):
                    wrapped.do_handshake()
        except BaseException:
            self.close()
            raise

    def send(self, data: bytes, until: float) -> None:
        self._set_timeout(until)
        with Timed(until):
            self.socket.sendall(data)

    def send_now(self, data: bytes) -> None:
        self.socket.settimeout(0)
        self.socket.sendall(data)

    def receive(self, until: float) -> bytes:
        self._set_timeout(until)
        with Timed(until):
            return self.socket.recv(65536)

    def receive_into(self, space: memoryview, until: float) -> bool:
        """False at the end of the connection, or where there is no space."""
        self._set_timeout(until)
        with Timed(until):
            return self.socket.recv_into(space) > 0

    def receive_now(self) -> bytes:
        """Raises one of NOTHING_YET where nothing has come."""
        self.socket.settimeout(0)
        return self.socket.recv(65536)

    def _set_timeout(self, until: float) -> None:
        left = until - clock()
        if left <= 0:
            raise Silent(NO_ANSWER)
        self.socket.settimeout(left if left < LONGEST_TIMEOUT else None)

    def end(self, how: int = socket.SHUT_RDWR) -> None:
        """The server sees the end, and so does a thread that waits. TLS is not asked: another thread may use it."""
        with Quietly():
            socket.socket.shutdown(self.socket, how)

    def close(self) -> None:
        self.end()
        self.socket.close()


def _connected(host: str, port: int, until: float) -> socket.socket:
    failed: Optional[BaseException] = None
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        one = tracked(functools.partial(socket.socket, family, kind, protocol))
        try:
            one.settimeout(max(0.001, until - clock()))
            with Timed(until):
                one.connect(address)
            return one
        except BaseException as error:
            one.close()
            if not is_of_the_network(error):
                raise
            failed = error
    raise failed or Broken(f"{host} has no address")


def _wrapped(tls: ssl.SSLContext, plain: socket.socket, host: str) -> ssl.SSLSocket:
    """The handshake comes later, since no fork can happen while a socket is made."""
    return tls.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)


def reach(server: Server, tries: Tries[Address], begin: Callable[[], D], then: Callable[[Connection, D], R]) -> R:
    """What `then` returns of a connection and its dialogue. Nothing is held yet, so one that breaks is made again."""
    while True:
        dialogue, connection = begin(), None
        try:
            host, port = tries.address
            connect_time = server.cluster.connect_time(ANSWER_TIME)
            connection = Connection(host, port, server.tls, clock() + server.cluster.first_answer_time(), connect_time)
            result = then(connection, dialogue)
            server.cluster.good = tries.address
            return result
        except BaseException as error:  # also what a signal handler raises
            if connection:
                connection.close()
            if dialogue.session:
                server.cluster.good = tries.address
            pause = tries.pause_after(error, dialogue.was_heard)
            if pause is None:
                raise
        time.sleep(pause)


# poll is preferred: it needs no file of its own.
Selector: Type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Keeper(_shared.Keeper):
    """Keeps a lock by a thread. It knows nothing of its `Handle`, so that one that is dropped is found."""

    def __init__(self, names: Sequence[str], term: _shared.Term) -> None:
        super().__init__(names, term)
        self.lost = threading.Event()
        self._is_releasing = False
        # The main thread may come in again, by a signal handler.
        self._alone = threading.RLock()

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"getlock {self.names[0]}", daemon=True).start()

    def release(self) -> bool:
        if not self.is_ours():
            return False
        try:
            with self._alone:
                if not self.has_ended and not self._is_releasing:
                    self._is_releasing = True
                    self._release_now()
        except BaseException:  # what a signal handler raises
            self.drop()
            raise
        if self.why() is None:
            return True
        self.lost.set()
        return False

    def _release_now(self) -> None:
        why = self.why()
        if why is not None:
            self.lose(why)
            return
        try:
            self.release_by(min(self.term.limit, clock() + ANSWER_TIME))
            self.end()
        except Exception as error:
            if not is_of_the_network(error) and not isinstance(error, Refused):
                raise
            self.lose(error)

    def lose(self, error: BaseException) -> None:
        if not self.has_ended:
            self._why = self._why or Lost.by(error)
            self.end()
            self.lost.set()

    def abandon(self) -> None:
        """Nobody can release the lock any more."""
        if self.is_ours() and not self.has_ended:
            self.drop()
            self.warn()

    def drop(self) -> None:
        """Frees the lock without a wait."""
        self.end()

    def end(self) -> None:
        raise NotImplementedError

    def release_by(self, until: float) -> None:
        raise NotImplementedError

    def _run(self) -> None:
        raise NotImplementedError


class Handle:
    """A lock that is held. `with` it, or call `release`. Keep it: a lock whose guard is dropped is freed."""

    def __init__(self, names: Tuple[str, ...], fencing_token: int, keeper: Keeper) -> None:
        self.names, self.name, self.fencing_token = names, names[0], fencing_token
        self._keeper = keeper
        keeper.start()
        # By its name, since not all checkers of types know it. The end of the process frees the lock anyway.
        setattr(weakref.finalize(self, keeper.abandon), "atexit", False)

    @property
    def lost(self) -> threading.Event:
        """Is set when the lock is lost, `stop_within` before others can have it. In a forked child it is set."""
        if self._keeper.is_ours():
            if self._keeper.why() is not None:  # The thread may not have had its turn yet.
                self._keeper.lost.set()
            return self._keeper.lost
        event = threading.Event()
        event.set()
        return event

    @property
    def why(self) -> Optional[Lost]:
        """Why the lock is lost. None while it is held, and after a release."""
        return self._keeper.why()

    def held(self) -> bool:
        """Whether the lock is held now, by the clock and not by what a thread has noticed."""
        return self._keeper.is_held()

    def __repr__(self) -> str:
        return shown(self, self.names, self.fencing_token, self.held())

    def release(self) -> bool:
        """Frees the lock. True if it was held until now, False if it had been lost."""
        return self._keeper.release()

    def __enter__(self: H) -> H:
        self._keeper.check_entry()
        return self

    def __exit__(
        self, _kind: Optional[Type[BaseException]], error: Optional[BaseException], _trace: Optional[TracebackType]
    ) -> None:
        if self.release() or not self._keeper.is_ours():
            return
        why = self.why
        if why is None:
            return
        if error is None:
            raise why
        blame(error, why)


class Block(Generic[H]):
    """What `lock` returns: for `with`, or above a function. Nothing happens before the block begins."""

    def __init__(self, acquire: Callable[[], H]) -> None:
        self._acquire = acquire
        self._guard: Optional[H] = None

    def __enter__(self) -> H:
        if self._guard is None:
            guard = self._acquire()
            if self._guard is None:
                self._guard = guard
                try:
                    return guard.__enter__()
                except BaseException:
                    self._guard = None
                    guard._keeper.drop()
                    raise
            guard.release()
        raise RuntimeError("this block has begun already; call lock() again for another one")

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """Each call of the function takes the lock first. Without the lock the function does not run."""
        runs_later = inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction
        if not callable(function) or any(is_so(function) for is_so in runs_later):
            raise TypeError(f"{function!r} would run without the lock; use a plain function, or getlock.aio")

        @functools.wraps(function)
        def locked(*args: Any, **kwargs: Any) -> Any:
            with Block(self._acquire):
                return function(*args, **kwargs)

        return cast(F, locked)
