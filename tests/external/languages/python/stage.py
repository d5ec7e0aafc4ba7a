"""What the steps of both kinds share: plain sockets that stand for others, stubs of a server, and the run."""
import asyncio
import concurrent.futures
import contextlib
import inspect
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import warnings

LIMIT = 20  # seconds that anything may take
HERE = pathlib.Path(__file__).parent

# A process with a thread for each guard may fork all the same: that is what is tested.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)


def until(is_so, what="the state that is waited for"):
    deadline = time.monotonic() + LIMIT
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


async def soon(is_so, what="the state that is waited for"):
    """As `until`, while the loop runs on."""
    deadline = time.monotonic() + LIMIT
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not come"
        await asyncio.sleep(0.01)


@contextlib.contextmanager
def raises(kind, symbol=None):
    """The error, as it is known behind the block."""
    seen = []
    try:
        yield seen
    except kind as error:
        # Lost is a Refused too, and is never meant by it.
        assert "Refused" not in str(kind) or type(error) is kind, repr(error)
        assert symbol is None or error.symbol == symbol, f"{error.symbol}, and not {symbol}"
        seen.append(error)
        return
    raise AssertionError(f"no {kind.__name__}")


class Other:
    """A plain connection to the server."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self._lines = self._socket.makefile("r", encoding="utf-8")

    def ask(self, line):
        self._socket.sendall(line.encode() + b"\n")
        return self._lines.readline().rstrip("\n")

    def take(self, name):
        assert self.ask(f"GET_LOCK '{name}' 0") == "1", f"{name} is not free"

    def free(self, name):
        assert self.ask(f"RELEASE_LOCK '{name}'") == "1", f"{name} is not held by the other"

    def waiters(self, name):
        """Their sessions."""
        line, found = self.ask(f"WAITERS '{name}'"), []
        while not line.startswith("END"):
            found.append(next(field[8:] for field in line.split() if field.startswith("session=")))
            line = self._lines.readline()
        return found

    def row(self, name):
        """What LOCKS shows of a lock with one holder."""
        row = self.ask(f"LOCKS '{name}'")
        assert self._lines.readline() == "END 1\n", row
        return row

    def is_free(self, name):
        return self.ask(f"IS_FREE_LOCK '{name}'") == "1"

    def holder(self, name):
        return self.ask(f"IS_USED_LOCK '{name}'")

    def kill(self, session):
        assert self.ask(f"KILL {session}") == "1"

    def close(self):
        self._lines.close()
        self._socket.close()


class World:
    """Where a step happens: two others, and threads."""

    def __init__(self, line_port, http_port):
        self.line_port, self.url = line_port, f"http://127.0.0.1:{http_port}"
        self.other, self.eye = Other(line_port), Other(line_port)
        self.pool = concurrent.futures.ThreadPoolExecutor(4)

    def close(self):
        self.other.close()
        self.eye.close()
        self.pool.shutdown(wait=False)


class Stub:
    """A server that does as little as a step needs."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                one, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one):
        with one, contextlib.suppress(OSError):
            self.serve(one)

    def serve(self, one):
        pass


class LineStub(Stub):
    """Grants every lock, promises it for a second, and answers so many questions.

    `says` has other answers, by the first word of a line. After the last answered question it does what `then` does.
    `promises` are the answers to questions; the last of them is that of all further ones.
    """

    def __init__(self, answers, grant_after=0.0, says=None, then=None, promises=("left=1.000 spare=7",)):
        super().__init__()
        self._promises = promises
        self._answers, self._grant_after, self._says, self._then = answers, grant_after, says or {}, then
        self.asked, self.closed, self.closed_at = [], threading.Event(), None
        self.lines = []  # but for the questions

    def serve(self, one):
        try:
            for line in one.makefile("rb"):
                word = line.split()[0].decode()
                if word != "KEEPALIVE":
                    self.lines.append(line.decode().rstrip("\n"))
                answer = self._says.get(word) or self._answer(word)
                if self._then and len(self.asked) > self._answers:
                    self._then(one)
                if callable(answer):
                    answer(one)
                elif answer:
                    one.sendall(answer.encode() + b"\n")
        finally:
            self.closed_at = time.monotonic()
            self.closed.set()

    def _answer(self, word):
        if word == "KEEPALIVE":
            self.asked.append(time.monotonic())
            promise = self._promises[min(len(self.asked), len(self._promises)) - 1]
            return f"KEEPALIVE {promise}" if len(self.asked) <= self._answers else None
        if word == "GET_LOCK":
            time.sleep(self._grant_after)
        return {"HELLO": "HELLO version=0.1.0 protocol=1 session=7", "FENCING_TOKEN": "8"}.get(word, "1")


class LeaseStub(Stub):
    """Grants a lease, and acknowledges one heartbeat. `odd` is what it says else, and not to a release."""

    def __init__(self, odd=None):
        super().__init__()
        self.beats, self._odd = [], odd or {}

    def serve(self, one):
        lines = one.makefile("rb")
        verb = lines.readline().split()[1].rsplit(b"/", 1)[1].decode()
        if verb == "heartbeat":
            self.beats.append(time.monotonic())
            if len(self.beats) > 1 and not self._odd:
                lines.read()  # until the client gives up
        status = {"acquire": "Acquired", "heartbeat": "HeartbeatReceived", "release": "Released"}[verb]
        fields = {"success": True, "status": status, "lockToken": "0" * 32, "fencingToken": 8}
        body = json.dumps({**fields, **self._odd.get(verb, {})})
        one.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


class Elsewhere(Stub):
    """A node that cannot serve: it says so, or closes the connection without a word."""

    def __init__(self, words=b""):
        super().__init__()
        self._words = words

    def serve(self, one):
        one.recv(1)
        one.sendall(self._words)


def nowhere():
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return closed.getsockname()[1]


NO_LEADER = b"ERROR UNAVAILABLE no leader\n"
NO_LEADER_BODY = b'{"success":false,"status":"Unavailable","message":"no leader"}'
NO_LEADER_HTTP = b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n%b" % (len(NO_LEADER_BODY), NO_LEADER_BODY)


class LosingProxy(Stub):
    """Passes on what comes, and loses the answer to the first acquire. `requests` are the acquires."""

    def __init__(self, url):
        super().__init__()
        self._server = urllib.parse.urlsplit(url)
        self.requests = []

    def serve(self, one):
        lines = one.makefile("rb")
        head = [lines.readline()]
        while head[-1] != b"\r\n":
            head.append(lines.readline())
        length = next(int(line.split()[1]) for line in head if line.lower().startswith(b"content-length"))
        body = lines.read(length)
        with socket.create_connection((self._server.hostname, self._server.port), LIMIT) as server:
            server.sendall(b"".join(head) + body)
            answer = server.makefile("rb").read()
        if b"/acquire" in head[0]:
            self.requests.append(json.loads(body))
        if b"/acquire" not in head[0] or len(self.requests) > 1:
            one.sendall(answer)


# Unasked lines, as they come between replies.
WAITING = "* WAITING name='it\\'s \\\\ here' session=9 mode=exclusive waiters=1"
TAKEN = "* TAKEN name=app/a mode=permit session=9 fencing_token=1795168800000012 limit=3"
FREED = "* FREED name=app/a mode=permit session=9 fencing_token=1795168800000012 held=1.500 cause=release"
LOST = "* LOST name='app/two words' mode=shared session=9 fencing_token=1795168800000012 held=0.250 cause=killed"


def watched_and_drained(one):
    """What WATCH is answered by a server that is about to stop."""
    one.sendall(f"1\n{TAKEN}\n".encode())
    time.sleep(0.1)
    one.sendall(b"ERROR SHUTDOWN the server is stopping\n")


# What no getlockd says, to one who wants a lock.
ODD_ANSWERS = [{"FENCING_TOKEN": "NULL"}, {"GET_LOCK": "NULL"}, {"GET_LOCK": "no"}]
ODD_ANSWERS += [{"KEEPALIVE": f"KEEPALIVE left={left}"} for left in ("-5", "", "nan", "1e3", "5 more", "9" * 400)]
ODD_GRANTS = {"lockToken": None}, {"lockToken": ""}, {"fencingToken": None}, {"fencingToken": "8"}


def _flood(piece):
    def send(one):
        while True:
            one.sendall(piece)

    return send


# The same, to one who holds a lock.
ODD_WORDS = [lambda one: one.sendall(b"1\n"), lambda one: one.sendall(b"KEEPALIVE left=-5\n")]
ODD_WORDS += [_flood(b"x" * (1 << 20)), _flood(b"0\n" * 10000), _flood(b"KEEPALIVE left=1.000\n" * 1000)]

# The end of a release when the server stops: both lines come in one piece.
DRAINED = {"RELEASE_LOCK": "1\nERROR SHUTDOWN the server is stopping"}


class Holder:
    """Another process that takes a lock. It says what it has done, a line for each thing."""

    def __init__(self, port, name, deed, *kind):
        words = [sys.executable, str(HERE / "holder.py"), str(port), name, deed, *kind]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, bufsize=1)

    def said(self):
        return self._process.stdout.readline().rstrip("\n")

    def tell(self):
        """It may go on."""
        print(file=self._process.stdin, flush=True)

    def kill(self):
        self._process.kill()
        self._process.wait(LIMIT)
        self._process.stdin.close()
        self._process.stdout.close()


def is_free_without(holder, world, name):
    """The holder is killed, and what it has started lives on."""
    started = int(holder.said())
    try:
        assert not world.eye.is_free(name)
        holder.kill()
        os.kill(started, 0)  # It lives.
        until(lambda: world.eye.is_free(name), "the end of the lock")
    finally:
        os.kill(started, signal.SIGKILL)


def in_a_child(work):
    """Runs it in a forked child. The child says by its exit whether that was true."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def run(steps):
    failed = False
    for step in steps:
        name = step.__name__.replace("_", "-")
        world = World(int(sys.argv[1]), int(sys.argv[2]))
        try:
            if inspect.iscoroutinefunction(step):
                asyncio.run(step(world))
            else:
                step(world)
            print(f"ok {name}", flush=True)
        except (Exception, asyncio.CancelledError, KeyboardInterrupt) as error:
            failed = True
            frames = traceback.extract_tb(error.__traceback__)
            last = [frame for frame in frames if frame.filename.startswith(str(HERE))][-1]
            print(f"not ok {name}: {pathlib.Path(last.filename).name}:{last.lineno}: {error!r}", flush=True)
        finally:
            world.close()
    sys.exit(failed)
