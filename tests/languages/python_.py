"""What tests/languages.rs tells the synchronous client of Python to do."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "clients/python"))
import getlock
from steps import options, say, words

locks = getlock.GetLock(**options())


def hold(guard):
    if guard is None:
        return say("none")
    say(f"granted {guard.token}")
    verb, *_ = next(words())
    if verb == "release":
        say("released" if guard.release() else "not released")
    elif verb == "watch":
        guard.lost.wait()
    return verb


for verb, timeout, name in words():
    take = locks.lock if verb == "lock" else locks.shared_lock
    try:
        with take(name, float(timeout)) as guard:
            verb = hold(guard)
        if verb == "leave":
            say("left")
    except getlock.Lost as lost:
        say(f"lost {lost.symbol}" if lost.symbol else "lost")
    except getlock.Refused as refused:
        say(f"refused {refused.symbol}")
    except OSError:
        say("away")
