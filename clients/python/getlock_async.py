"""Locks of getlockd for asyncio, by its line protocol. Copy this file: it needs Python 3.11 and nothing else.

    locks = GetLock("127.0.0.1", 3305)
    async with locks.lock("nightly", timeout=10) as guard:
        if guard is None:
            sys.exit("somebody else has it")
        await work(guard.token)

Each guard has a connection of its own, and a task that sees the end of it. A block whose lock is lost
is cancelled there and then, as by `asyncio.timeout`, and ends with `Lost`.
"""
import asyncio
import contextlib
import random
import socket

ANSWER_TIME = 10  # seconds that the server may take for what does not wait


class Refused(Exception):
    """What the server answered as ERROR: `symbol` is for programs, the text for people."""

    def __init__(self, symbol, text):
        super().__init__(text)
        self.symbol = symbol


class Lost(Refused):
    """The lock is gone. `symbol` is the reason that the server gave, None if the connection broke."""


class GetLock:
    """A server. `tls` is an `ssl.SSLContext`; a server that is away is tried for `retry` seconds."""

    def __init__(self, host="127.0.0.1", port=3305, user=None, password="", tls=None, retry=30):
        self._address, self._tls, self._retry = (host, port), tls, retry
        self._hello = f"AUTH {_quoted(user)} {_quoted(password)}" if user else "PING"

    def lock(self, name, timeout):
        """For `async with`: a `Guard`, or None if not granted within `timeout` seconds; -1 waits for ever."""
        return self._block("GET_LOCK", _quoted(name), timeout)

    def shared_lock(self, name, timeout):
        """As `lock`, beside others that share it."""
        return self._block("GET_SHARED_LOCK", _quoted(name), timeout)

    @contextlib.asynccontextmanager
    async def _block(self, verb, name, timeout):
        task = asyncio.current_task()
        cancelling = task.cancelling()
        guard = await self._take(verb, name, timeout)
        if guard is None:
            yield None
            return
        guard._block = task
        try:
            yield guard
        except asyncio.CancelledError:
            if guard._has_cancelled and task.cancelling() == cancelling + 1:
                raise guard.why from None
            raise
        finally:
            if guard._has_cancelled:
                task.uncancel()
            held_to_the_end = await guard.release()
        if not held_to_the_end:
            raise guard.why

    async def _take(self, verb, name, timeout):
        """Nothing is held yet, so a wait that breaks may connect and queue again."""
        clock = asyncio.get_running_loop().time
        away_since, attempt = clock(), 0
        deadline = away_since + timeout if timeout >= 0 else float("inf")
        while True:
            connection = None
            try:
                connection = await _connected(self._address, self._tls, self._hello)
                left = max(0, deadline - clock()) if timeout >= 0 else -1
                patience = left + ANSWER_TIME if timeout >= 0 else None
                if await connection.ask(f"{verb} {name} {left:.3f}", patience) == "1":
                    return Guard(connection, name, int(await connection.ask(f"FENCING_TOKEN {name}")))
                return connection.close()
            except BaseException as error:
                if connection:
                    connection.close()
                    away_since = clock()
                pause, attempt = min(2, 0.05 * 2**attempt) * random.uniform(0.5, 1), attempt + 1
                passes = getattr(error, "symbol", None) in ("SHUTDOWN", "LIMIT") or isinstance(error, OSError)
                if not passes or clock() + pause > min(deadline, away_since + self._retry):
                    raise
                await asyncio.sleep(pause)


class Guard:
    """A lock that is held. `token` is its fencing token, `lost` an `asyncio.Event`, `why` a `Lost`."""

    def __init__(self, connection, name, token):
        self.token, self.lost, self.why = token, asyncio.Event(), None
        self._block, self._has_cancelled, self._releasing = None, False, False
        self._connection, self._name = connection, name
        self._watcher = asyncio.create_task(self._watch())

    async def release(self):
        """Frees the lock. True if it was held until now, False if it had been lost."""
        if not self._releasing and not self.why:
            self._releasing = True
            self._connection.send(f"RELEASE_LOCK {self._name}")
        try:
            return await asyncio.wait_for(asyncio.shield(self._watcher), ANSWER_TIME)
        except TimeoutError as error:
            self._lose(error)
            return False
        finally:
            self._connection.close()

    async def _watch(self):
        """The next line is the answer to a release, or the reason of the end, or the end."""
        try:
            line = await self._connection.read()
            if self._releasing and line == "1":
                return True
            self._lose(Refused(None, line))
        except (OSError, Refused) as error:
            self._lose(error)
        return False

    def _lose(self, error):
        self.why = Lost(getattr(error, "symbol", None), str(error))
        self.lost.set()
        if self._block and not self._releasing:
            self._has_cancelled = self._block.cancel()


async def _connected(address, tls, hello):
    async with asyncio.timeout(ANSWER_TIME):
        connection = _Connection(*await asyncio.open_connection(*address, ssl=tls))
    try:
        await connection.ask(hello)
    except BaseException:
        connection.close()
        raise
    return connection


class _Connection:
    def __init__(self, reader, writer):
        self._reader, self._writer = reader, writer
        # A server that has vanished is found within half a minute.
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3):
            if hasattr(socket, option):
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def send(self, line):
        self._writer.write(line.encode() + b"\n")

    async def ask(self, line, patience=ANSWER_TIME):
        self.send(line)
        async with asyncio.timeout(patience):
            return await self.read()

    async def read(self):
        line = (await self._reader.readline()).decode()
        if not line.endswith("\n"):
            raise ConnectionError("the connection ended")
        if line.startswith("ERROR "):
            raise Refused(*line.rstrip("\n").split(" ", 2)[1:])
        return line.rstrip("\n")

    def close(self):
        self._writer.close()


def _quoted(text):
    """One word, whatever is in it; no text can be a second line."""
    for plain, safe in ("\\", "\\\\"), ("'", "''"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0"):
        text = text.replace(plain, safe)
    return f"'{text}'"
