"""What the locks and the leases of the kind for asyncio share."""
from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import socket
import ssl
import weakref
from types import TracebackType
from typing import (
    Any,
    Awaitable,
    Callable,
    Coroutine,
    Generic,
    List,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    cast,
)

from . import _shared
from ._shared import (
    ANSWER_TIME,
    ENDED,
    NO_ANSWER,
    Broken,
    Lost,
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
MOST_UNREAD = 8  # pieces that nobody has read; then the network holds the rest back


class Listener(Protocol):
    def heard(self, data: bytes) -> None: ...


class Connection(asyncio.Protocol):
    """A socket. What comes is read by `receive`, or told to a `listener` at once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: Optional[asyncio.Transport] = None
        self._waiter: Optional[asyncio.Future[None]] = None
        self._has_closed = self._has_ended = False
        self._unread: List[bytes] = []
        self._error: Optional[Exception] = None
        self._listener: Optional[Listener] = None
        self._socket: Optional[socket.socket] = None

    async def open(
        self, host: str, port: int, tls: Optional[ssl.SSLContext], until: float, connect_time: float
    ) -> None:
        """The handshake of TLS has until `until`: a cluster without a leader answers none."""
        try:
            await _within(max(0.001, min(until - clock(), connect_time)), self._connect(host, port))
            await _within(max(0.001, until - clock()), self._open(host, tls))
        except BaseException:
            self.close()
            raise

    async def _connect(self, host: str, port: int) -> None:
        self._socket = await _connected(self._loop, host, port)

    async def _open(self, host: str, tls: Optional[ssl.SSLContext]) -> None:
        one = self._socket
        if one is None:
            raise Broken(ENDED)
        try:
            set_up(one)
            name = host if tls else None
            await self._loop.create_connection(lambda: self, sock=one, ssl=tls, server_hostname=name)
        except BaseException as error:
            one.close()
            raise _told(error)

    def send(self, data: bytes) -> None:
        if self._transport:
            self._transport.write(data)

    async def receive(self, until: float) -> bytes:
        """What has come; nothing at the end of the connection."""
        if not self._unread and not self._has_ended:
            self._waiter = self._loop.create_future()
            left = max(0.0, until - clock())
            timer = None if left == math.inf else self._loop.call_later(left, self._wake, Silent(NO_ANSWER))
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer:
                    timer.cancel()
        if self._unread:
            if len(self._unread) == MOST_UNREAD and self._transport and not self._has_ended:
                self._transport.resume_reading()
            return self._unread.pop(0)
        if self._error:
            raise _told(self._error)
        return b""

    def listen(self, listener: Listener) -> None:
        self._listener = listener
        for data in self._unread:
            listener.heard(data)
        if self._has_ended:
            listener.heard(b"")

    def half_close(self) -> None:
        """The server sees the end. What it has said can still come."""
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """At once: nothing more is sent, nor said in TLS."""
        self._has_closed = True
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._has_closed:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._listener:
            self._listener.heard(data)
        else:
            self._unread.append(data)
            if len(self._unread) == MOST_UNREAD and self._transport:
                self._transport.pause_reading()
            self._wake()

    def connection_lost(self, error: Optional[Exception]) -> None:
        self._has_ended, self._error = True, error
        if self._listener:
            self._listener.heard(b"")
        self._wake()

    def _wake(self, error: Optional[Exception] = None) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(error) if error else self._waiter.set_result(None)


def _told(error: BaseException) -> BaseException:
    """asyncio says nothing of some broken connections."""
    is_plain = isinstance(error, OSError) and not is_of_the_network(error)
    return Broken(str(error) or ENDED) if is_plain else error


async def reach(
    server: Server, tries: Tries[Address], begin: Callable[[], D], then: Callable[[Connection, D], Awaitable[R]]
) -> R:
    """What `then` returns of a connection and its dialogue. Nothing is held yet, so one that breaks is made again."""
    while True:
        dialogue, connection = begin(), Connection()
        try:
            host, port = tries.address
            connect_time = server.cluster.connect_time(ANSWER_TIME)
            await connection.open(host, port, server.tls, clock() + server.cluster.first_answer_time(), connect_time)
            result = await then(connection, dialogue)
            server.cluster.good = tries.address
            return result
        except BaseException as error:  # also a cancellation
            connection.close()
            if dialogue.session:
                server.cluster.good = tries.address
            pause = tries.pause_after(error, dialogue.was_heard)
            if pause is None:
                raise
        await asyncio.sleep(pause)


async def _connected(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    failed: Optional[OSError] = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        one = tracked(functools.partial(socket.socket, family, kind, protocol))
        one.setblocking(False)
        try:
            await loop.sock_connect(one, address)
            return one
        except BaseException as error:
            one.close()
            if not isinstance(error, OSError):
                raise
            failed = error
    raise failed or Broken(f"{host} has no address")


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.wait_for`, which swallowed some cancellations before Python 3.12."""
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # so that it counts as seen
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise Silent(NO_ANSWER)
        task.result()
    finally:
        task.cancel()


class Keeper(_shared.Keeper):
    """Keeps a lock by timers. It knows nothing of its `Handle`, so that one that is dropped is found."""

    def __init__(self, names: Sequence[str], term: _shared.Term) -> None:
        super().__init__(names, term)
        self.lost = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._released: Optional[asyncio.Future[None]] = None
        self._block: Optional[asyncio.Task[Any]] = None
        self._is_releasing = self._has_cancelled = False
        self._others = 0  # cancellations that came before the block

    def tick(self) -> None:
        """Is called as often as there is something to do."""
        if self._timer:
            self._timer.cancel()
        if self.has_ended:
            return
        why = self.why()
        if why is not None:
            self.expire(why)
            return
        if self.term.is_due() and not self._is_releasing:
            self.ask()
        self._timer = self._loop.call_later(self.term.nap(), self.tick)

    async def release(self) -> bool:
        if not self.is_ours():
            return False
        if not self._is_releasing and not self.has_ended:
            self._is_releasing = True
            self._released = self._loop.create_future()
            self.term.limit = min(self.term.limit, clock() + ANSWER_TIME)
            self.tick()
            if not self.has_ended:
                self.ask_release()
        if self._released:
            try:
                await asyncio.shield(self._released)
            except BaseException:
                self.end()
                raise
        if self.why() is None:
            return True
        self.lost.set()
        return False

    def lose(self, error: BaseException) -> None:
        if not self.has_ended:
            self._why = self._why or Lost.by(error)
            self.end()
            self.tell()

    def expire(self, why: Lost) -> None:
        """Is called when the time is over."""
        self.lose(why)

    def tell(self) -> None:
        """Once, however often the lock is found lost."""
        if not self.lost.is_set():
            self.lost.set()
            if self._block and not self._is_releasing:
                self._has_cancelled = self._block.cancel()

    def end(self) -> None:
        self.has_ended = True
        if self._timer:
            self._timer.cancel()
        if self._released and not self._released.done():
            self._released.set_result(None)

    def abandon(self) -> None:
        """Nobody can release the lock any more. May be called by another thread."""
        if self.is_ours() and not self.has_ended:
            with contextlib.suppress(RuntimeError):  # The loop is closed, and so are its connections.
                self._loop.call_soon_threadsafe(self.drop)
            self.warn()

    def drop(self) -> None:
        self.end()

    def ask(self) -> None:
        raise NotImplementedError

    def ask_release(self) -> None:
        raise NotImplementedError

    # A block is cancelled in the moment of the loss, as `asyncio.timeout` does it.

    def enter(self) -> None:
        self.check_entry()
        self._block = asyncio.current_task()
        self._others = _cancelling(self._block)

    def leave(self) -> bool:
        """Whether a cancellation of the block is that of the loss alone. From now on there is none."""
        block, self._block = self._block, None
        if not self._has_cancelled:
            return False
        self._has_cancelled = False
        if block is None or not hasattr(block, "uncancel"):  # Before Python 3.11 nobody counts cancellations.
            return True
        return bool(block.uncancel() <= self._others)


def _cancelling(task: Optional[asyncio.Task[Any]]) -> int:
    return int(task.cancelling()) if task and hasattr(task, "cancelling") else 0


class Handle:
    """A lock that is held. `async with` it, or call `release`. Keep it: a lock whose guard is dropped is freed."""

    def __init__(self, names: Tuple[str, ...], fencing_token: int, keeper: Keeper) -> None:
        self.names, self.name, self.fencing_token = names, names[0], fencing_token
        self._keeper = keeper
        # By its name, since not all checkers of types know it. The end of the process frees the lock anyway.
        setattr(weakref.finalize(self, keeper.abandon), "atexit", False)
        keeper.tick()

    @property
    def lost(self) -> asyncio.Event:
        """Is set when the lock is lost, `stop_within` before others can have it. In a forked child it is set."""
        if not self._keeper.is_ours():
            self._keeper.lost.set()
        elif self._keeper.why() is not None:  # No timer runs while the loop is held up.
            self._keeper.tell()
        return self._keeper.lost

    @property
    def why(self) -> Optional[Lost]:
        """Why the lock is lost. None while it is held, and after a release."""
        return self._keeper.why()

    def held(self) -> bool:
        """Whether the lock is held now, by the clock and not by what a timer has noticed."""
        return self._keeper.is_held()

    def __repr__(self) -> str:
        return shown(self, self.names, self.fencing_token, self.held())

    async def release(self) -> bool:
        """Frees the lock. True if it was held until now, False if it had been lost."""
        return await self._keeper.release()

    async def __aenter__(self: H) -> H:
        self._keeper.enter()
        return self

    async def __aexit__(
        self, _kind: Optional[Type[BaseException]], error: Optional[BaseException], _trace: Optional[TracebackType]
    ) -> None:
        is_by_loss = self._keeper.leave() and isinstance(error, asyncio.CancelledError)
        if await self.release() or not self._keeper.is_ours():
            return
        why = self.why
        if why is None:
            return
        if error is None or is_by_loss:
            raise why from None
        blame(error, why)


class Block(Generic[H]):
    """What `lock` returns: for `async with`, or above an async function. Nothing happens before the block begins."""

    def __init__(self, acquire: Callable[[], Awaitable[H]]) -> None:
        self._acquire = acquire
        self._guard: Optional[H] = None

    async def __aenter__(self) -> H:
        if self._guard is None:
            guard = await self._acquire()
            if self._guard is None:
                self._guard = guard
                try:
                    return await guard.__aenter__()
                except BaseException:
                    self._guard = None
                    guard._keeper.drop()
                    raise
            await guard.release()
        raise RuntimeError("this block has begun already; call lock() again for another one")

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.__aexit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """Each call of the function takes the lock first. Without the lock the function does not run."""
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{function!r} is no async function; getlock.GetLock has locks for plain functions")

        @functools.wraps(function)
        async def locked(*args: Any, **kwargs: Any) -> Any:
            async with Block(self._acquire):
                return await function(*args, **kwargs)

        return cast(F, locked)
