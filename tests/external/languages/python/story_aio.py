"""What tests/external/languages.rs tells the kind for asyncio to do."""
import asyncio
import sys

from words import options, say, words

import getlock.aio


class Commands:
    """Reads in a way that can be cancelled."""

    async def start(self):
        self._reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)

    async def next(self):
        line = (await self._reader.readline()).decode()
        return next(words([line])) if line else None


async def hold(guard, commands):
    say(f"granted {guard.fencing_token}")
    verb, *_ = await commands.next()
    if verb == "release":
        say("released" if await guard.release() else "not released")
    elif verb == "watch":
        await asyncio.Event().wait()  # until it is cancelled
    return verb


async def story():
    commands = Commands()
    await commands.start()
    locks = getlock.aio.GetLock(**options())
    while command := await commands.next():
        verb, timeout, name = command
        if not timeout:
            continue  # the block was over before this came
        try:
            async with locks.lock(name, float(timeout), shared=verb == "shared") as guard:
                verb = await hold(guard, commands)
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


asyncio.run(story())
