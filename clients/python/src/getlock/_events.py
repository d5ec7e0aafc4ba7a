"""What the server says without being asked, once that is wanted: an event of a lock, as a line that begins with `*`."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Mapping, Optional

MOST_EVENTS = 1000  # that wait for a function to return; older ones are dropped
_FIELD = re.compile(r" ([a-z_]+)=('(?:[^'\\]|\\.|'')*'|[^' ]*)")
_ESCAPED = re.compile(r"\\u\{([0-9a-fA-F]{1,6})\}|\\(.)|''", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "0": "\0", "Z": "\x1a"}


@dataclass(frozen=True)
class Event:
    """What happened to a lock. `kind` is a word of the server, in lower case:

    - `waiting`: `session` waits for a lock that this guard holds. `waiters` is how many wait.
    - `taken`: `session` got the lock.
    - `freed`: its holder released it, after `held` seconds.
    - `lost`: it ended otherwise. `cause` says how, such as `killed`.
    - `missed`: `count` events were lost, since they were not read fast enough. None: nobody knows how many.
    """

    kind: str
    name: str  # of the lock; empty if the event has none
    session: Optional[int]
    mode: Optional[str]  # exclusive, shared or permit
    fencing_token: Optional[int]
    held: Optional[float]
    cause: Optional[str]
    waiters: Optional[int]
    count: Optional[int]
    fields: Mapping[str, str]  # all that the server said, also what is not known here

    @classmethod
    def read(cls, line: str) -> Event:
        """From a line without its asterisk."""
        word, space, rest = line.partition(" ")
        return cls.of(word.lower(), {key: plain(value) for key, value in _FIELD.findall(space + rest)})

    @classmethod
    def of(cls, kind: str, fields: Dict[str, str]) -> Event:
        return cls(
            kind,
            fields.get("name", ""),
            _whole(fields, "session"),
            fields.get("mode"),
            _whole(fields, "fencing_token"),
            _seconds(fields, "held"),
            fields.get("cause"),
            _whole(fields, "waiters"),
            _whole(fields, "count"),
            fields,
        )


def _whole(fields: Dict[str, str], key: str) -> Optional[int]:
    text = fields.get(key, "")
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _seconds(fields: Dict[str, str], key: str) -> Optional[float]:
    text = fields.get(key, "")
    return float(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text) else None


def plain(value: str) -> str:
    """A string as the server writes it, bare or in quotes."""
    return _ESCAPED.sub(_unescaped, value[1:-1]) if len(value) > 1 and value[0] == value[-1] == "'" else value


def _unescaped(match: re.Match[str]) -> str:
    code, letter = match[1], match[2]
    if code:
        return chr(int(code, 16)) if int(code, 16) < 0x110000 else "\ufffd"
    return _CONTROLS.get(letter, letter) if letter else "'"


MISSED = Event.of("missed", {})
