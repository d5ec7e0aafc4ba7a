"""What tests/external/languages.rs tells the kind with threads to do."""
from words import options, say, words

import getlock

locks = getlock.GetLock(**options())


def hold(guard):
    say(f"granted {guard.fencing_token}")
    verb, *_ = next(words())
    if verb == "release":
        say("released" if guard.release() else "not released")
    elif verb == "watch":
        guard.lost.wait()
    return verb


for verb, timeout, name in words():
    try:
        with locks.lock(name, float(timeout), shared=verb == "shared") as guard:
            verb = hold(guard)
        if verb == "leave":
            say("left")
    except getlock.Lost as lost:
        say(f"lost {lost.symbol}" if lost.symbol else "lost")
    except getlock.Refused as refused:
        say(f"refused {refused.symbol}")
    except getlock.NotGranted:
        say("none")
    except OSError:
        say("away")
