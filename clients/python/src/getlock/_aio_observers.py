"""Watching, for the kind for asyncio."""
from __future__ import annotations

import math
from collections import deque
from types import TracebackType
from typing import Deque, Optional, Tuple, Type

from ._events import MISSED, Event
from ._shared import check_text, passes
from ._tasks import Connection, reach
from ._wire import Observation, Server


class Watch:
    """What happens to the locks whose names begin with a prefix: `async for event in locks.watch("app/")`.

    The connection is made where the block begins, or else with the first event that is asked for. One that breaks is
    made again, and a `missed` event without a `count` says so. `close` ends the loop, also from another task.
    """

    def __init__(self, server: Server, prefix: str) -> None:
        check_text("prefix", prefix)
        self._server, self._prefix = server, prefix
        self._events: Deque[Event] = deque()
        self._link: Optional[Tuple[Connection, Observation]] = None
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True
        self._hang_up()

    async def __aenter__(self) -> Watch:
        if self._link is None and not self._is_closed:
            self._link = await self._connected()
        return self

    async def __aexit__(
        self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException], _trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Event:
        while not self._is_closed:
            if self._events:
                return self._events.popleft()
            if self._link is None:
                self._link = await self._connected()
            else:
                await self._hear(*self._link)
        self._hang_up()
        raise StopAsyncIteration

    async def _hear(self, connection: Connection, observation: Observation) -> None:
        try:
            observation.hear(await connection.receive(math.inf))
        except Exception as error:
            self._hang_up()
            self._events.append(MISSED)
            if not passes(error):
                raise

    def _hang_up(self) -> None:
        if self._link:
            self._link[0].close()
            self._link = None

    async def _connected(self) -> Tuple[Connection, Observation]:
        def begin() -> Observation:
            return self._server.observation(self._prefix, self._events)

        async def observe(connection: Connection, observation: Observation) -> Tuple[Connection, Observation]:
            connection.send(observation.opening())
            while not observation.is_answered:
                observation.hear(await connection.receive(observation.late_at()))
            return connection, observation

        return await reach(self._server, self._server.tries(math.inf), begin, observe)
