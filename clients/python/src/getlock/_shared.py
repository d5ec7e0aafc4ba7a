"""What both kinds of the client share: errors, the clock, checks of arguments, forks. Nothing here waits."""
from __future__ import annotations

import getpass
import inspect
import math
import os
import random
import socket
import ssl
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from typing import Any, Callable, Deque, Generic, List, Optional, Sequence, Tuple, TypeVar, Union

ANSWER_TIME = 10.0  # seconds that the server may take to answer a command that does not wait
PARKED_TIME = 15.0  # the same for a connection that is new: while a cluster has no leader it is held for 10 s
CONNECT_TIME = 3.0  # seconds until the next of several addresses is tried
TURN_TIME = 5.0  # the same for one that is connected and silent: all nodes of a cluster are held up alike
LONGEST_TEXT = 256  # characters of a name or a note of a client
LONGEST = 1e9  # seconds; a longer wait is forever
MOST_NAMES = 64  # of one request
MOST_PERMITS = 65535  # of one lock
CLUSTER_MARGIN = 1 / 5  # of the longest promise of a cluster, for the work to stop; if nobody says what it needs
CLUSTER_MOST = 3 / 10  # of it, that the work may need to stop
CLUSTER_EVERY = 1 / 9  # of it, between two questions: a tenth of --cluster-ttl, of which it is nine tenths
LONGEST_NAP = 1.0  # seconds; no sleep counts the time that the machine is suspended, so none may be long
NO_ANSWER = "the server does not answer; check the network and the server"
ENDED = "the connection to the server ended, so others may have the lock; take the lock again"
TOO_LATE = "the server has not answered in time, so others may get the lock; take the lock again"
OUTDATED = "a server answered that no longer leads its cluster, so others may have the lock; take the lock again"

UNAVAILABLE = "Unavailable"  # the symbol of 503 over HTTP

Names = Union[str, Sequence[str]]  # of one lock, or of several

A = TypeVar("A")
S = TypeVar("S", bound=socket.socket)
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def clock() -> float:
    """Seconds; where the system has such a clock, those that the machine is suspended count too."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


class Refused(Exception):
    """The server refused. `symbol` is for programs (`BAD_NAME`, `KILLED`), the text for people."""

    def __init__(self, symbol: Optional[str], text: str) -> None:
        super().__init__(symbol, text)
        self.symbol = symbol

    def __str__(self) -> str:
        return str(self.args[1])


class Lost(Refused):
    """The lock is lost. `symbol` is the server's reason, or None if the connection broke or time ran out."""

    @classmethod
    def by(cls, error: BaseException) -> Lost:
        return error if isinstance(error, cls) else cls(getattr(error, "symbol", None), str(error))


class NotGranted(TimeoutError):
    """The lock was not granted in time. Others hold it, or wait in front.

    `in_the_way` is its name. Of several locks it is the first that could not be had.
    """

    in_the_way = ""

    @classmethod
    def of(cls, names: Sequence[str], wait: float, in_the_way: str) -> NotGranted:
        others = f"others hold {in_the_way!r}" if len(names) > 1 else "others hold it"
        error = cls(f"{listed(names)} was not granted within {wait:g} s: {others}; wait longer, or try again later")
        error.in_the_way = in_the_way
        return error


def listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


class Silent(TimeoutError):
    """The server does not answer."""


class Broken(ConnectionError):
    """The connection has ended, or is good for nothing."""


class Odd(Broken):
    """An answer over HTTP that is not one of getlockd. Another one would be the same."""


def is_of_the_network(error: Optional[BaseException]) -> bool:
    """What the network does is tried again. A signal handler may raise an OSError too, and that ends a wait."""
    return isinstance(error, (Silent, Broken)) or (isinstance(error, OSError) and error.errno is not None)


def passes(error: BaseException) -> bool:
    """Whether another connection may be answered better."""
    return is_of_the_network(error) or getattr(error, "symbol", None) in ("SHUTDOWN", "LIMIT", "UNAVAILABLE")


def blame(error: BaseException, why: Lost) -> None:
    """The error of a block stays. The loss becomes its cause, or the cause of its first cause."""
    seen = set()
    while error is not why and id(error) not in seen:
        seen.add(id(error))
        if error.__cause__ is None:
            error.__cause__ = why
            return
        error = error.__cause__


# Arguments are checked before anything is sent, so that a swapped pair of them is never a lock of another name.


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def wait_of(timeout: Optional[float]) -> float:
    """How long to wait, in seconds; infinity is forever."""
    if timeout is None:
        return math.inf
    if not _is_number(timeout):
        raise TypeError(f"timeout must be seconds, such as 10 or 0.5, or None to wait forever; it is {timeout!r}")
    if timeout != timeout:
        raise ValueError("timeout is not a number (NaN); use seconds, such as 10, or None to wait forever")
    return math.inf if timeout < 0 or timeout > LONGEST else float(timeout)


def check_span(what: str, value: object, most: float = math.inf) -> None:
    if not _is_number(value):
        raise TypeError(f"{what} must be seconds, such as 10 or 0.5; it is {value!r}")
    if not 0 <= value <= most:  # type: ignore[operator]
        limit = "0 or more" if most == math.inf else f"from 0 to {most:g}"
        raise ValueError(f"{what} must be {limit} seconds; it is {value!r}")


def check_text(what: str, value: object, may_be_none: bool = False) -> None:
    if value is None and may_be_none:
        return
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string; it is {value!r}")
    if not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value):
        raise ValueError(f"{what} has half of a surrogate pair; use valid Unicode; it is {value!r}")


def parts_of(what: str, value: Any) -> List[str]:
    """Of a string with commas, or of a list of strings."""
    words = value if isinstance(value, (list, tuple)) else [value]
    for word in words:
        check_text(what, word)
    if not words:
        raise ValueError(f"{what} is an empty list; give it at least one address")
    return [one.strip() for word in words for one in word.split(",")]


def may_be_granted(error: BaseException) -> bool:
    """Whether an answer was lost, so that nobody knows what it was."""
    return is_of_the_network(error) and not isinstance(error, (Silent, Odd))


class Identity:
    """What the lists of the server show of this client. By default that is `user@host[pid] program`."""

    def __init__(self, name: Optional[str], note: Optional[str]) -> None:
        for what, text in ("name", name), ("note", note):
            check_shown(what, text)
        if note is not None and name == "":
            raise ValueError('a note needs a name; leave out name="", or the note')
        self._name, self.note = name, note

    @property
    def name(self) -> str:
        """Made afresh each time, since a fork changes the process."""
        return _own_name() if self._name is None else self._name


def _own_name() -> str:
    """Never arguments: these may be secret."""
    try:
        user = getpass.getuser()
    except Exception:  # A container may know no name for its user; which error that is depends on the version.
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    program = os.path.basename(sys.argv[0]) if sys.argv else ""
    if program in ("", "-", "-c", "-m"):
        program = os.path.basename(sys.executable or "python")
    # The name of a file need not be UTF-8.
    name = f"{user}@{socket.gethostname()}[{os.getpid()}] {program}".encode(errors="replace").decode()
    return name[:LONGEST_TEXT]


def check_shown(what: str, value: object) -> None:
    check_text(what, value, may_be_none=True)
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"{what} has {len(value)} characters; use at most {LONGEST_TEXT}")


def names_of(name: object) -> Tuple[str, ...]:
    """Each of the names once."""
    names = tuple(name) if isinstance(name, (list, tuple)) else (name,)
    for one in names:
        check_text("the name of a lock", one)
    names = tuple(dict.fromkeys(names))
    if not 0 < len(names) <= MOST_NAMES:
        raise ValueError(f"a request is for 1 to {MOST_NAMES} locks; this one is for {len(names)}")
    return names


def check_mode(names: Sequence[str], shared: object, limit: object) -> None:
    if not isinstance(shared, bool):
        raise TypeError(f"shared must be True or False; it is {shared!r}")
    if limit is None:
        return
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"limit must be a whole number of permits, such as 3; it is {limit!r}")
    if not 1 <= limit <= MOST_PERMITS:
        raise ValueError(f"limit must be from 1 to {MOST_PERMITS}; it is {limit}")
    if shared or len(names) > 1:
        raise ValueError("a permit is not shared, and is of one lock: leave out shared, the other names, or limit")


def check_callback(what: str, value: object) -> None:
    if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
        raise TypeError(f"{what} must be a plain function; it is {value!r}")


def check_tls(tls: object) -> None:
    if tls is not None and not isinstance(tls, ssl.SSLContext):
        raise TypeError(f"tls must be an ssl.SSLContext, such as ssl.create_default_context(); it is {tls!r}")


def set_up(one: socket.socket) -> None:
    """A server that has vanished is found within half a minute, while a wait says nothing."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, value in ("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3):
        if hasattr(socket, option):
            one.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


# A forked child has a copy of each socket. With it the child could disturb the parent, and would keep the
# parent's locks after the parent has died.

_forking = threading.RLock()
_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def tracked(make: Callable[[], S]) -> S:
    """Makes a socket that a forked child closes at once."""
    with _forking:
        made = make()
        _sockets.add(made)
        return made


def _close_in_the_child() -> None:
    """Puts /dev/null in the place of each socket: nothing is sent, and the number is not used for another file."""
    global _forking
    _forking = threading.RLock()
    inherited = [one.fileno() for one in _sockets if one.fileno() >= 0]
    _sockets.clear()
    try:
        null = os.open(os.devnull, os.O_RDWR) if inherited else -1
    except OSError:  # No file is free.
        for number in inherited:
            os.close(number)
        return
    for number in inherited:
        os.dup2(null, number, inheritable=False)
    if inherited:
        os.close(null)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _forking.acquire(),
        after_in_parent=lambda: _forking.release(),
        after_in_child=_close_in_the_child,
    )


class Cluster(Generic[A]):
    """What the connections of one client know together: the addresses, and the cluster behind them if there is one."""

    def __init__(self, addresses: Sequence[A]) -> None:
        self.addresses, self.good = list(addresses), addresses[0]
        self.term, self.longest = 0, 0.0

    def round(self) -> List[A]:
        """All addresses in the order of the tries: the last good one is first."""
        at = self.addresses.index(self.good)
        return self.addresses[at:] + self.addresses[:at]

    def connect_time(self, usual: float) -> float:
        return usual if len(self.addresses) == 1 else min(CONNECT_TIME, usual)

    def first_answer_time(self) -> float:
        return PARKED_TIME if len(self.addresses) == 1 else TURN_TIME

    def takes(self, term: int, left: float = 0.0) -> bool:
        """Whether an answer of that term counts. One of a lower term than has been seen comes from an old leader."""
        with _forking:  # A lock that a forked child can use.
            if term < self.term:
                return False
            self.term, self.longest = term, max(self.longest, left)
            return True


class Term:
    """Until when the lock is surely held, by what the server has promised.

    A promise counts from the moment in which its question was sent. `limit` is the end of the last promise,
    less the time that the work needs to stop.

    The promises of a cluster differ: each has what is left to its leader. The longest one stands for the rest.
    """

    def __init__(
        self, stop_within: Optional[float], margin: float, every: float, cluster: Optional[Cluster[Any]] = None
    ) -> None:
        self.limit = self.promised_until = self.question_at = -math.inf
        self._stop_within, self._margin, self._every = stop_within, margin, every
        self._left = 0.0
        self._cluster, self._number = cluster, 0
        self._asked: Deque[float] = deque()

    def led(self, number: int, left: float) -> None:
        """The answer is of a cluster, in that term of its leader. A connection is of one term."""
        cluster = self._cluster
        if cluster is None or number == 0 or self._number not in (0, number) or not cluster.takes(number, left):
            raise Broken(OUTDATED)
        self._number, self._margin, self._every = number, CLUSTER_MARGIN, CLUSTER_EVERY

    def check(self, left: float) -> None:
        """Refuses a time to stop that would begin before the next promise comes."""
        if self._number and self._cluster:
            self._check_in_cluster(CLUSTER_MOST * self._cluster.longest)
            return
        most = left * (1 - self._every)
        if left and self._stop_within is not None and self._stop_within >= most:
            raise ValueError(
                f"stop_within={self._stop_within:g} is too long, since the lock is promised for {left:g} s at a time; "
                f"use less than {most:g}, or a longer promise (ttl of a lease, --keepalive of the server)"
            )

    def _check_in_cluster(self, most: float) -> None:
        if self._stop_within is not None and self._stop_within > most > 0:
            raise ValueError(
                f"stop_within={self._stop_within:g} is too long for this cluster; use at most {most:g}, or a greater "
                "--cluster-ttl or --takeover-delay of the servers, of which a fifth is always short enough"
            )

    def _time_of(self, left: float) -> float:
        """How much of a promise is there for the work."""
        return left - (left * self._margin if self._stop_within is None else self._stop_within)

    def asked(self) -> None:
        """Is called before the question is sent."""
        self._asked.append(clock())
        self.question_at = self._asked[-1] + self._left * self._every

    def is_asked(self) -> bool:
        """Whether a question waits for its answer."""
        return bool(self._asked)

    def answered(self, left: float) -> None:
        if not self._asked:
            return
        asked = self._asked.popleft()
        if left == 0 and not self._number:  # The server promises nothing, so nothing can run out.
            self.limit = self.promised_until = self.question_at = math.inf
            return
        # An earlier promise still holds, also if that of a cluster has become shorter.
        self.promised_until = max(self.promised_until, asked + left)
        self._left = self._cluster.longest if self._number and self._cluster else left
        self.limit = self.promised_until - (self._left - self._time_of(self._left))
        self.question_at = asked + self._left * self._every

    def restart(self) -> None:
        """What was asked before has no answer any more."""
        self._asked.clear()
        self.promised_until = -math.inf

    def ask_again(self) -> None:
        """The last question failed: the next one is soon."""
        self._asked.clear()
        self.question_at = clock() + min(1.0, self._left / 20)

    def late_at(self) -> float:
        """From then on the answer to the last question is worth nothing."""
        return self._asked[-1] + (self._time_of(self._left) if self._left else ANSWER_TIME)

    def look_at(self) -> float:
        """When a waiting client checks that the leader of a cluster is still there; never on a server alone."""
        if not self._number or self._cluster is None:
            return math.inf
        return self._asked[-1] + self._cluster.longest if self._asked else self.promised_until

    def is_over(self) -> bool:
        return clock() >= self.limit

    def is_due(self) -> bool:
        return clock() >= self.question_at

    def nap(self) -> float:
        """How long there is nothing to do."""
        return self._nap_until(min(self.limit, self.question_at))

    def rest(self) -> float:
        """As `nap`, for a lock that is lost already: until others can have it. From then on it is 0."""
        return self._nap_until(self.promised_until)

    @staticmethod
    def _nap_until(moment: float) -> float:
        return min(LONGEST_NAP, max(0.0, moment - clock()))


def shown(handle: object, names: Sequence[str], fencing_token: int, is_held: bool) -> str:
    session = getattr(handle, "session", None)
    words = ([] if session is None else [f"session={session}"]) + [f"fencing_token={fencing_token}", f"held={is_held}"]
    return f"<{type(handle).__name__} {listed(names)} {' '.join(words)}>"


class Keeper:
    """What is known of a lock that is held. Each kind adds what keeps it: a thread, or timers."""

    def __init__(self, names: Sequence[str], term: Term) -> None:
        self.names, self.term, self.has_ended = names, term, False
        self._why: Optional[Lost] = None
        self._process = os.getpid()

    def is_ours(self) -> bool:
        """False in a forked child: the lock is the parent's."""
        return os.getpid() == self._process

    def why(self) -> Optional[Lost]:
        """Looks at the clock itself, and not at what a thread or a timer has seen. Once lost is lost for good."""
        if self._why is None and not self.has_ended and self.term.is_over():
            self._why = Lost(None, TOO_LATE)
        return self._why

    def is_held(self) -> bool:
        return self.is_ours() and not self.has_ended and self.why() is None

    def warn(self) -> None:
        """Of a guard that was dropped."""
        if self._why is None:
            text = f"the guard of {listed(self.names)} was dropped, so the lock is free; release it"
            warnings.warn(text, ResourceWarning)

    def check_entry(self) -> None:
        """No block begins without the lock."""
        if not self.is_ours():
            raise RuntimeError("the lock belongs to the parent of this process; take it in this process")
        why = self.why()
        if why is not None:
            raise why
        if self.has_ended:
            raise RuntimeError("the lock has been released; take it again")


class Tries(Generic[A]):
    """How long a lock is tried for, and where, while connections break and servers are away."""

    def __init__(self, cluster: Cluster[A], wait: float, retry: float, outlasts: bool = False) -> None:
        """One that `outlasts` is tried forever, once the server has answered."""
        self._cluster, self._round = cluster, cluster.round()
        self._away_since = clock()
        self._deadline, self._retry, self._pause = self._away_since + wait, retry, 0.05
        self._outlasts = outlasts

    def left(self) -> float:
        return max(0.0, self._deadline - clock())

    @property
    def address(self) -> A:
        return self._round[0]

    def pause_after(self, error: BaseException, was_heard: bool, may_be_granted: bool = False) -> Optional[float]:
        """Seconds until the next try, the last of which is when the time is over. None if there is none.

        Each address has its turn before a pause. What may have been granted is asked for again also when the time
        is over.
        """
        now = clock()
        if was_heard:
            self._away_since = now
            self._retry = math.inf if self._outlasts else self._retry
        passing = passes(error) and not isinstance(error, ssl.SSLCertVerificationError)
        if passing and len(self._round) > 1:
            self._round.pop(0)
            return 0.0
        self._round = self._cluster.round()
        end = self._away_since + self._retry
        if not may_be_granted:
            end = min(self._deadline, end)
        pause, self._pause = self._pause * random.uniform(0.5, 1), min(2.0, self._pause * 2)
        return min(pause, end - now) if passing and now < end else None

    def is_answered(self, error: BaseException) -> bool:
        """Whether this is the server's last word on a lease. A node that says `Unavailable` leaves others to ask."""
        is_unavailable = getattr(error, "symbol", None) == UNAVAILABLE
        return isinstance(error, (NotGranted, Refused)) and not (is_unavailable and len(self._round) > 1)

    def pause_for_lease(self, error: BaseException, was_sent: bool, is_known: bool, began: float) -> Optional[float]:
        """As `pause_after`, for a request of HTTP that began then. None also for what another one would not change."""
        if isinstance(error, Refused):
            self._round.pop(0)
            return 0.0
        is_lost = was_sent and (may_be_granted(error) or (isinstance(error, Silent) and len(self._round) > 1))
        if is_known or (was_sent and not is_lost):
            return None
        # Whatever broke a long wait, it was not that nobody was there.
        return self.pause_after(error, was_sent and clock() - began > ANSWER_TIME, is_lost)
