"""Being told, for the kind with threads: the events of a prefix, and of the locks that a guard holds."""
from __future__ import annotations

import math
import sys
import threading
from collections import deque
from types import TracebackType
from typing import Callable, Deque, Optional, Tuple, Type

from ._blocking import Connection, reach
from ._events import MISSED, MOST_EVENTS, Event
from ._shared import PARKED_TIME, check_text, clock, passes
from ._wire import Observation, Server


class Teller:
    """Calls a function for one event after the other. The thread that keeps a lock must not wait for it."""

    def __init__(self, function: Callable[[Event], object]) -> None:
        self._function = function
        self._events: Deque[Event] = deque(maxlen=MOST_EVENTS)
        self._alone, self._is_running = threading.RLock(), False

    def tell(self, event: Event) -> None:
        with self._alone:
            self._events.append(event)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="getlock on_waiter", daemon=True).start()

    def _next(self) -> Optional[Event]:
        with self._alone:
            self._is_running = bool(self._events)
            return self._events.popleft() if self._events else None

    def _run(self) -> None:
        event = self._next()
        while event is not None:
            try:
                self._function(event)
            except Exception:
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            event = self._next()


class Watch:
    """What happens to the locks whose names begin with a prefix: `for event in locks.watch("app/")`.

    The connection is made where the block begins, or else with the first event that is asked for. One that breaks is
    made again, and a `missed` event without a `count` says so. `close` ends the loop, also from another thread.
    """

    def __init__(self, server: Server, prefix: str) -> None:
        check_text("prefix", prefix)
        self._server, self._prefix = server, prefix
        self._events: Deque[Event] = deque()
        self._link: Optional[Tuple[Connection, Observation]] = None
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True
        if self._link:
            self._link[0].end()

    def __enter__(self) -> Watch:
        if self._link is None and not self._is_closed:
            self._link = self._connected()
        return self

    def __exit__(
        self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException], _trace: Optional[TracebackType]
    ) -> None:
        self.close()
        self._hang_up()

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Event:
        while not self._is_closed:
            if self._events:
                return self._events.popleft()
            if self._link is None:
                self._link = self._connected()
            else:
                self._hear(*self._link)
        self._hang_up()
        raise StopIteration

    def _hear(self, connection: Connection, observation: Observation) -> None:
        try:
            observation.hear(connection.receive(math.inf))
        except BaseException as error:  # also what a signal handler raises
            self._hang_up()
            self._events.append(MISSED)
            if not passes(error):
                raise

    def _hang_up(self) -> None:
        if self._link:
            self._link[0].close()
            self._link = None

    def _connected(self) -> Tuple[Connection, Observation]:
        def begin() -> Observation:
            return self._server.observation(self._prefix, self._events)

        def observe(connection: Connection, observation: Observation) -> Tuple[Connection, Observation]:
            connection.send(observation.opening(), clock() + PARKED_TIME)
            while not observation.is_answered:
                observation.hear(connection.receive(observation.late_at()))
            return connection, observation

        return reach(self._server, self._server.tries(math.inf), begin, observe)
