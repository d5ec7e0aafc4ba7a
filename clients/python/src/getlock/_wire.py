"""What is said to the server, as bytes, and what its answers mean. Both kinds of the client do the sending."""
from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import math
import re
import ssl
import uuid
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Union
from urllib.parse import SplitResult, urlsplit

from ._events import Event, plain
from ._shared import (
    ANSWER_TIME,
    ENDED,
    OUTDATED,
    PARKED_TIME,
    Broken,
    Cluster,
    Identity,
    Names,
    NotGranted,
    Odd,
    Refused,
    Term,
    Tries,
    check_mode,
    check_shown,
    check_span,
    check_text,
    check_tls,
    clock,
    names_of,
    parts_of,
    wait_of,
)


LONGEST_LINE = 65536  # bytes; nothing that a client asks for comes near to it
MOST_HEARD = 65536  # bytes of an answer over HTTP
_PROMISE = re.compile(r"KEEPALIVE left=([0-9]{1,9}(?:\.[0-9]+)?)(?: [a-z_]+=.*)?")
_TERM = re.compile(r" term=([^ ]*)")
_IS_CUT = re.compile(rb"HTTP/1\.[01] 5|HTTP/1(?!.*\r\n\r\n)", re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,18}")
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]{1,5})")


def quoted(text: str) -> bytes:
    """One word, whatever is in it; no text can be a second line."""
    for plain, safe in ("\\", "\\\\"), ("'", "''"), ("\n", "\\n"), ("\r", "\\r"), ("\0", "\\0"):
        text = text.replace(plain, safe)
    return f"'{text}'".encode()


class Address(NamedTuple):
    host: str
    port: int


Hosts = Union[str, Sequence[str]]  # of one server, or of the nodes of a cluster


def _addresses(host: Hosts, port: int) -> List[Address]:
    """Of `"a"`, `"a:3305,b:3305"` or a list of them; `port` is that of those without one."""
    hosts = parts_of("host", host)
    if len(hosts) > 1 and not all(hosts):
        raise ValueError(f'host must be as "127.0.0.1" or "a:3305,b:3305"; it is {host!r}')
    return [_address(one, port) for one in hosts]


def _address(text: str, port: int) -> Address:
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:  # of IPv6, without a port
        return Address(text.strip("[]"), port)
    if not 0 < int(match[2]) < 65536:
        raise ValueError(f"{text!r} has a port that is none; use 1 to 65535")
    return Address(match[1].strip("[]"), int(match[2]))


class Server:
    """A server by the line protocol, or a cluster of them, and how it is used."""

    def __init__(
        self,
        host: Hosts,
        port: int,
        user: Optional[str],
        password: str,
        tls: Optional[ssl.SSLContext],
        retry: float,
        stop_within: Optional[float],
        name: Optional[str],
        note: Optional[str],
    ) -> None:
        check_text("user", user, may_be_none=True)
        check_text("password", password)
        if not isinstance(port, int) or isinstance(port, bool):
            raise TypeError(f"port must be a number, such as 3305; it is {port!r}")
        check_tls(tls)
        check_span("retry", retry)
        if stop_within is not None:
            check_span("stop_within", stop_within)
        self.cluster = Cluster(_addresses(host, port))
        self.tls, self.retry, self._stop_within = tls, retry, stop_within
        self._identity = Identity(name, note)
        self._login = b"AUTH " + quoted(user) + b" " + quoted(password) + b"\n" if user else b""

    def talk(self, wish: Wish) -> Talk:
        term = Term(self._stop_within, margin=2 / 5, every=1 / 5, cluster=self.cluster)
        talk = Talk(self._login, self._introduction(), wish, term)
        talk.first_answer_time = self.cluster.first_answer_time()
        return talk

    def tries(self, wait: float, outlasts: bool = False, is_known: bool = False) -> Tries[Address]:
        """One that `outlasts` goes on forever once a server has answered, and one that `is_known` from the start."""
        return Tries(self.cluster, wait, math.inf if is_known else self.retry, outlasts)

    def observation(self, prefix: str, events: Deque[Event]) -> Observation:
        observation = Observation(self._login, self._introduction(), prefix, events)
        observation.first_answer_time = self.cluster.first_answer_time()
        return observation

    def _introduction(self) -> bytes:
        name, note = self._identity.name, self._identity.note
        if not name:
            return b""
        return b"INTRODUCE " + quoted(name) + (b" " + quoted(note) if note is not None else b"") + b"\n"


class Wish:
    """Locks that somebody wants. It is made before anything is connected. `tell` is called with what is unasked."""

    def __init__(
        self,
        name: Names,
        timeout: Optional[float],
        shared: bool,
        limit: Optional[int] = None,
        tell: Optional[Callable[[Event], object]] = None,
    ) -> None:
        self.names = names_of(name)
        check_mode(self.names, shared, limit)
        self.wait, self.tell = wait_of(timeout), tell
        self._words = b" ".join(map(quoted, self.names))
        self._plural = b"S" if len(self.names) > 1 else b""
        if limit is None:
            self._taking = (b"GET_SHARED_LOCK" if shared else b"GET_LOCK") + self._plural + b" " + self._words
        else:
            self._taking = b"GET_PERMIT %b %d" % (self._words, limit)

    def taking(self, wait: float) -> bytes:
        """The fencing token is that of all the names."""
        seconds = b"-1" if wait == math.inf else b"%.6f" % wait
        return b"%b %b\nFENCING_TOKEN %b\n" % (self._taking, seconds, quoted(self.names[0]))

    def freeing(self) -> bytes:
        return b"RELEASE_LOCK%b %b\n" % (self._plural, self._words)


class Dialogue:
    """What is said on one connection: questions, their answers in order, and what comes unasked."""

    def __init__(self, login: bytes, introduction: bytes) -> None:
        self.session = 0
        self.was_heard = self.is_answered = False
        self._login, self._introduction, self._rest = login, introduction, b""
        self._expected: Deque[Callable[[str], None]] = deque()
        self._opened, self.first_answer_time = 0.0, PARKED_TIME

    def _beginning(self) -> bytes:
        """All that can be asked without an answer goes out in one piece. This is its begin."""
        self._opened = clock()
        if self._login:
            self._expected.append(self._confirmed)
        if self._introduction:
            self._expected.append(self._introduced)
        self._expected.append(self._greeted)
        return self._login + self._introduction + b"HELLO\n"

    def late_at(self) -> float:
        """From then on the server does not answer, as it seems."""
        return self._opened + (ANSWER_TIME if self.was_heard else self.first_answer_time)

    def is_over(self) -> bool:
        """Whether nothing that comes matters any more."""
        return False

    def hear(self, data: bytes) -> None:
        """Takes what has come, which is nothing at the end of the connection. Raises what is an error."""
        if not data:
            raise Broken(ENDED)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not self.is_over():
                self._hear_line(line.decode(errors="replace"))
        if len(self._rest) > LONGEST_LINE:
            raise Broken("the server sends a line without an end")

    def _hear_line(self, line: str) -> None:
        self.was_heard = True
        word, _, rest = line.partition(" ")
        if word == "ERROR" and rest:
            symbol, _, text = rest.partition(" ")
            if symbol == "UNKNOWN_COMMAND" and self._expected and self._expected[0] == self._introduced:
                self._expected.popleft()  # An older server, which shows no names.
                return
            raise Refused(symbol, text or symbol)
        try:
            if word == "*":
                self._happened(Event.read(rest))
            elif word == "KEEPALIVE":
                self._promised(line)
            else:
                self._expected.popleft()(line)
        except (_Unexpected, IndexError):
            text = f"this is not getlockd, since it says {line[:80]!r}; check the host and the port"
            # One that has said hello is getlockd, and can do better on another connection.
            raise Broken(text) if self.session else Refused("WRONG_PROTOCOL", text) from None

    # What comes between any two answers.

    def _happened(self, event: Event) -> None:
        raise NotImplementedError

    def _promised(self, line: str) -> None:
        raise _Unexpected

    # The answers in their order.

    def _confirmed(self, line: str) -> None:
        if line != "1":
            raise _Unexpected

    def _introduced(self, line: str) -> None:
        self._confirmed(line)

    def _greeted(self, line: str) -> None:
        self.session = _number(next((field[8:] for field in line.split() if field.startswith("session=")), ""))


class Talk(Dialogue):
    """It takes one lock, or several at once, keeps what it took, and releases it."""

    def __init__(self, login: bytes, introduction: bytes, wish: Wish, term: Term) -> None:
        super().__init__(login, introduction)
        self.term, self.fencing_token, self.is_released = term, 0, False
        self._wish, self._wait = wish, 0.0

    def opening(self, wait: float) -> bytes:
        beginning, self._wait = self._beginning() + self.question(), wait
        if self._wish.tell:
            self._expected.append(self._confirmed)
            beginning += b"EVENTS ON\n"
        self._expected.extend((self._taken, self._numbered))
        return beginning + self._wish.taking(wait)

    def question(self) -> bytes:
        self.term.asked()
        return b"KEEPALIVE\n"

    def release(self) -> bytes:
        self._expected.append(self._freed)
        return self._wish.freeing()

    def late_at(self) -> float:
        """All but the lock is answered at once."""
        return super().late_at() + (self._wait if self.session else 0.0)

    def look_at(self) -> float:
        """By then something must have come, or else it is time for another question."""
        return min(self.late_at(), self.term.look_at())

    def asks_again(self) -> bytes:
        """The question that follows if nothing has come by `look_at`; nothing if that was the last chance."""
        return b"" if self.term.is_asked() or clock() >= self.late_at() else self.question()

    def is_over(self) -> bool:
        """What the server says behind the release is about a session without the lock."""
        return self.is_released

    def _happened(self, event: Event) -> None:
        if self._wish.tell and event.kind == "waiting":
            self._wish.tell(event)

    def _promised(self, line: str) -> None:
        promise = _PROMISE.fullmatch(line)
        if promise is None or not self.term.is_asked():
            raise _Unexpected
        left, term = float(promise[1]), _TERM.search(line)
        if term:
            self.term.led(_number(term[1]), left)
        if not self.is_answered:
            self.term.check(left)
        self.term.answered(left)

    def _taken(self, line: str) -> None:
        names = self._wish.names
        answer, _, in_the_way = line.partition(" ")
        if answer == "0" and bool(in_the_way) == (len(names) > 1):
            raise NotGranted.of(names, self._wish.wait, plain(in_the_way) or names[0])
        if line != "1":
            raise _Unexpected

    def _numbered(self, line: str) -> None:
        """A server that has forgotten the grant says NULL."""
        self.fencing_token, self.is_answered = _number(line), True

    def _freed(self, line: str) -> None:
        """The session holds nothing else, so it has all of several locks or none."""
        if not _number(line):
            raise Broken("the server says that this session did not hold the lock; take the lock again")
        self.is_released = True


class Observation(Dialogue):
    """It watches the locks whose names begin with `prefix`. What happens is appended to `events`."""

    def __init__(self, login: bytes, introduction: bytes, prefix: str, events: Deque[Event]) -> None:
        super().__init__(login, introduction)
        self._prefix, self._events = prefix, events

    def opening(self) -> bytes:
        beginning = self._beginning()
        self._expected.append(self._watched)
        return beginning + (b"WATCH " + quoted(self._prefix) if self._prefix else b"WATCH") + b"\n"

    def _watched(self, line: str) -> None:
        self._confirmed(line)
        self.is_answered = True

    def _happened(self, event: Event) -> None:
        """Words of servers to come are not known here."""
        if event.kind in ("taken", "freed", "lost", "missed"):
            self._events.append(event)


class _Unexpected(Exception):
    """What the server says is no answer."""


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text):
        return int(text)
    raise _Unexpected


class Answer(NamedTuple):
    code: int
    symbol: str
    fields: Dict[str, Any]

    def is_good(self, symbol: str) -> bool:
        return self.symbol == symbol and self.fields.get("success") is True


class Base(NamedTuple):
    """Where a server is, over HTTP."""

    host: str
    port: int
    place: str
    path: str


class Http:
    """A server over HTTP, or a cluster of them: requests to bytes, and bytes to answers."""

    def __init__(
        self,
        url: Hosts,
        user: Optional[str],
        password: str,
        token: Optional[str],
        tls: Optional[ssl.SSLContext],
        retry: float,
        stop_within: Optional[float],
        name: Optional[str],
        note: Optional[str],
    ) -> None:
        check_text("user", user, may_be_none=True)
        check_text("password", password)
        check_text("token", token, may_be_none=True)
        check_tls(tls)
        parts = _urls(url)
        is_tls = parts[0].scheme == "https"
        if any((one.scheme == "https") != is_tls for one in parts):
            raise ValueError(f"some of {url!r} have TLS and some have not; use https:// for all, or for none")
        if tls and not is_tls:
            raise ValueError(f"tls is given and {url!r} has none; use https://")
        if user is not None and token is not None:
            raise ValueError("user and token are both given; use one of them")
        usual = 443 if is_tls else 80
        bases = [Base(one.hostname or "", one.port or usual, one.netloc, one.path.rstrip("/")) for one in parts]
        self.cluster = Cluster(bases)
        self.tls = (tls or ssl.create_default_context()) if is_tls else None
        check_span("retry", retry)
        if stop_within is not None:
            check_span("stop_within", stop_within)
        self.retry, self.stop_within, self.identity = retry, stop_within, Identity(name, note)
        self._login = _login(user, password, token)

    def request(self, base: Base, verb: str, fields: Dict[str, Any]) -> bytes:
        body = json.dumps(fields).encode()
        path = f"{base.path}/api/lock/{verb}"
        head = f"POST {path} HTTP/1.1\r\nHost: {base.place}\r\nConnection: close\r\n{self._login}"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    @staticmethod
    def answer(data: Union[bytes, bytearray]) -> Answer:
        """Of a connection that has ended. What no getlockd says counts as a broken connection."""
        if not data:
            raise Broken("the server closed the connection without an answer")
        try:
            # One that is dropped open is closed by its finalizer, which forgets what a signal handler raises there.
            with contextlib.closing(http.client.HTTPResponse(_Heard(data))) as response:  # type: ignore[arg-type]
                response.begin()
                fields = json.loads(response.read())
                return Answer(response.status, str(fields["status"]), fields)
        except (http.client.HTTPException, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            text = f"this is not getlockd, since it says {bytes(data[:80])!r}; check the url"
            # The answer was cut off, or a proxy could not pass it on.
            is_cut = isinstance(error, http.client.IncompleteRead) or _IS_CUT.match(data)
            raise (Broken(text) if is_cut else Odd(text)) from None


def _urls(url: Hosts) -> List[SplitResult]:
    """Of one base URL, or of several: a list, or with commas between."""
    return [_url(one) for one in parts_of("url", url)]


def _url(url: str) -> SplitResult:
    parts = urlsplit(url)
    is_word = url.isascii() and url.isprintable() and " " not in url
    if not is_word or parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError(f"url must be as http://127.0.0.1:3308, without user and password; it is {url!r}")
    return parts


class _Heard:
    """What `http.client` reads from."""

    def __init__(self, data: Union[bytes, bytearray]) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _login(user: Optional[str], password: str, token: Optional[str]) -> str:
    if token is not None:
        word = f"Bearer {token}"
    elif user:
        word = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    else:
        return ""
    if not (word.isascii() and word.isprintable()):
        raise ValueError("token has characters that no token has; use it as getlockd printed it")
    return f"Authorization: {word}\r\n"


class Loan:
    """All that is said about one lease, from one that is wanted to one that is given back."""

    def __init__(
        self,
        server: Http,
        name: Names,
        timeout: Optional[float],
        ttl: float,
        shared: bool,
        client: Optional[str],
        note: Optional[str],
        limit: Optional[int] = None,
    ) -> None:
        self.names = names_of(name)
        check_mode(self.names, shared, limit)
        check_span("ttl", ttl, most=1e9)
        check_shown("client", client)
        check_shown("note", note)
        self.server, self.wait = server, wait_of(timeout)
        self.base = server.cluster.good
        self.lease_token, self.fencing_token = "", 0
        milliseconds = int(ttl * 1000)
        self._ttl, self._asked = milliseconds / 1000, 0.0
        self.term = Term(server.stop_within, margin=1 / 5, every=1 / 3)
        self.term.check(self._ttl)
        self._fields: Dict[str, Any] = {
            **({"resourceNames": self.names} if len(self.names) > 1 else {"resourceName": self.names[0]}),
            **({"mode": "shared" if shared else "exclusive"} if limit is None else {"mode": "permit", "limit": limit}),
            "ttlMs": milliseconds,
            # By it the server knows a request that is sent again. It is as secret as the token of the lease.
            "requestId": str(uuid.uuid4()),
        }
        client = server.identity.name if client is None else client
        note = server.identity.note if note is None else note
        self._fields.update({key: text for key, text in (("clientId", client), ("note", note)) if text})
        self._waits = 0.0

    def asking(self, left: float) -> bytes:
        """The request that waits for so long. Sent again it gets the lease that it got before, or its place."""
        self.term.restart()
        self.term.asked()
        self._asked, self._waits = clock(), left
        wait = -1 if left == math.inf else math.ceil(left * 1000)
        return self.server.request(self.base, "acquire", {**self._fields, "waitMs": wait})

    def answer_until(self) -> float:
        return self._asked + self._waits + PARKED_TIME

    def granted(self, answer: Answer) -> None:
        """The time of the lease runs from the grant, of which only this is known: it came after the question."""
        if answer.symbol == "Busy":
            in_the_way = answer.fields.get("inTheWay")
            raise NotGranted.of(self.names, self.wait, in_the_way if isinstance(in_the_way, str) else self.names[0])
        if not answer.is_good("Acquired"):
            raise _refusal(answer)
        self._check_term(answer)
        token, number = answer.fields.get("lockToken"), answer.fields.get("fencingToken")
        if not isinstance(token, str) or not token:
            raise Odd("the server granted a lease without a token; check that the url is of getlockd")
        self.lease_token = token
        if not isinstance(number, int) or isinstance(number, bool):
            raise Odd("the server granted a lease without a fencing token; check that the url is of getlockd")
        self.fencing_token = number
        self.term.answered(self._ttl)

    def must_be_renewed(self) -> bool:
        """After a long wait the question is too old to count from."""
        return clock() > self._asked + self._ttl / 5

    def beat(self) -> bytes:
        self.term.asked()
        return self.server.request(self.base, "heartbeat", self._token_fields())

    def move_on(self) -> None:
        """The next heartbeat goes to the next address, and comes back to this one behind the others."""
        addresses = self.server.cluster.addresses
        self.base = addresses[(addresses.index(self.base) + 1) % len(addresses)]

    def beat_until(self) -> float:
        """There is time for another one if this one is not answered."""
        return min(self.term.limit, clock() + min(ANSWER_TIME, self._ttl / 4))

    def renewal_until(self) -> float:
        return min(self.term.late_at(), clock() + ANSWER_TIME)

    def renewed(self, answer: Answer) -> None:
        if answer.is_good("HeartbeatReceived"):
            self._check_term(answer)
            self.term.answered(self._ttl)
        elif answer.code in (404, 409):
            raise _refusal(answer)
        else:
            raise Broken(str(_refusal(answer)))

    def giving_back(self) -> bytes:
        return self.server.request(self.base, "release", self._token_fields())

    @staticmethod
    def given_back(answer: Answer) -> None:
        if not answer.is_good("Released"):
            raise _refusal(answer)

    def _check_term(self, answer: Answer) -> None:
        """A lease outlives the leader, so its own time bounds it. But what an old leader says does not count."""
        term = answer.fields.get("term")
        if isinstance(term, int) and not self.server.cluster.takes(term):
            raise Broken(OUTDATED)

    def _token_fields(self) -> Dict[str, Any]:
        """Each name of a lease stands for all of them."""
        return {"resourceName": self.names[0], "lockToken": self.lease_token}


def _refusal(answer: Answer) -> Refused:
    return Refused(answer.symbol, str(answer.fields.get("message", f"HTTP {answer.code}")))
