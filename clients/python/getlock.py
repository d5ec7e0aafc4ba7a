"""Locks of getlockd, by its line protocol. Copy this file: it needs Python 3.9 and nothing else.

    locks = GetLock("127.0.0.1", 3305)
    with locks.lock("nightly", timeout=10) as guard:
        if guard is None:
            sys.exit("somebody else has it")
        for row in rows:
            if guard.lost.is_set():
                break
            write(row, guard.token)

Each guard has a connection of its own, and a thread that sees the end of it. A block whose lock was
lost ends with `Lost`, unless it ends with an exception of its own.
"""
import contextlib
import random
import selectors
import socket
import threading
import time

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
        """For `with`: a `Guard`, or None if not granted within `timeout` seconds; -1 waits for ever."""
        return self._block("GET_LOCK", _quoted(name), timeout)

    def shared_lock(self, name, timeout):
        """As `lock`, beside others that share it."""
        return self._block("GET_SHARED_LOCK", _quoted(name), timeout)

    @contextlib.contextmanager
    def _block(self, verb, name, timeout):
        guard = self._take(verb, name, timeout)
        try:
            yield guard
        finally:
            held_to_the_end = guard is None or guard.release()
        if not held_to_the_end:
            raise guard.why

    def _take(self, verb, name, timeout):
        """Nothing is held yet, so a wait that breaks may connect and queue again."""
        away_since, attempt = time.monotonic(), 0
        deadline = away_since + timeout if timeout >= 0 else float("inf")
        while True:
            connection = None
            try:
                connection = _Connection(self._address, self._tls, self._hello)
                left = max(0, deadline - time.monotonic()) if timeout >= 0 else -1
                patience = left + ANSWER_TIME if timeout >= 0 else None
                if connection.ask(f"{verb} {name} {left:.3f}", patience) == "1":
                    return Guard(connection, name, int(connection.ask(f"FENCING_TOKEN {name}")))
                return connection.close()
            except BaseException as error:
                if connection:
                    connection.close()
                    away_since = time.monotonic()
                pause, attempt = min(2, 0.05 * 2**attempt) * random.uniform(0.5, 1), attempt + 1
                passes = getattr(error, "symbol", None) in ("SHUTDOWN", "LIMIT") or isinstance(error, OSError)
                if not passes or time.monotonic() + pause > min(deadline, away_since + self._retry):
                    raise
                time.sleep(pause)


class Guard:
    """A lock that is held. `token` is its fencing token, `lost` a `threading.Event`, `why` a `Lost`."""

    def __init__(self, connection, name, token):
        self.token, self.lost, self.why = token, threading.Event(), None
        self._connection, self._name, self._released = connection, name, False
        self._alone = threading.Lock()  # TLS cannot be read and written at once
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def release(self):
        """Frees the lock. True if it was held until now, False if it had been lost."""
        with self._alone:
            if not self.why and not self._released:
                try:
                    self._released = self._connection.ask(f"RELEASE_LOCK {self._name}") == "1"
                except (OSError, Refused) as error:
                    self._lose(error)
            self._connection.shutdown()  # this wakes the watcher
        self._watcher.join()
        self._connection.close()
        return self._released

    def _watch(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection.socket, selectors.EVENT_READ)
            while not self.why and not self._released:
                selector.select()
                with self._alone:
                    if not self.why and not self._released:
                        self._look()

    def _look(self):
        """Nobody has asked: what comes is the reason of the end, or the end."""
        try:
            self._connection.socket.settimeout(0)
            self._lose(Refused(None, self._connection.read()))
        except (OSError, Refused) as error:
            # TLS may have nothing for us in what has come.
            if type(error).__name__ not in ("BlockingIOError", "SSLWantReadError"):
                self._lose(error)

    def _lose(self, error):
        self.why = Lost(getattr(error, "symbol", None), str(error))
        self.lost.set()


class _Connection:
    def __init__(self, address, tls, hello):
        self._unread = b""
        self.socket = socket.create_connection(address, ANSWER_TIME)
        try:
            # A server that has vanished is found within half a minute.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in ("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3):
                if hasattr(socket, option):
                    self.socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            if tls:
                self.socket = tls.wrap_socket(self.socket, server_hostname=address[0])
            self.ask(hello)
        except BaseException:
            self.close()
            raise

    def ask(self, line, patience=ANSWER_TIME):
        self.socket.settimeout(patience)
        self.socket.sendall(line.encode() + b"\n")
        return self.read()

    def read(self):
        while b"\n" not in self._unread:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the connection ended")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        if line.startswith(b"ERROR "):
            raise Refused(*line.decode().split(" ", 2)[1:])
        return line.decode()

    def shutdown(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.socket.close()


def _quoted(text):
    """One word, whatever is in it; no text can be a second line."""
    for plain, safe in ("\\", "\\\\"), ("'", "''"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0"):
        text = text.replace(plain, safe)
    return f"'{text}'"
