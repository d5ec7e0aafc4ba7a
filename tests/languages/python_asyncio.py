"""What tests/languages.rs tells the asyncio client of Python to do."""
import asyncio
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "clients/python"))
import getlock_async
from steps import options, say, words


async def hold(guard, commands):
    if guard is None:
        return say("none")
    say(f"granted {guard.token}")
    verb, *_ = await anext(commands)
    if verb == "release":
        say("released" if await guard.release() else "not released")
    elif verb == "watch":
        await asyncio.Event().wait()  # until it is cancelled
    return verb


class Commands:
    """Reads in a way that can be cancelled."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        line = (await self.reader.readline()).decode()
        if not line:
            raise StopAsyncIteration
        return next(words([line]))


async def story():
    commands = Commands()
    commands.reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(commands.reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    locks = getlock_async.GetLock(**options())
    async for verb, timeout, name in commands:
        if not timeout:
            continue  # the block was over before this came
        take = locks.lock if verb == "lock" else locks.shared_lock
        try:
            async with take(name, float(timeout)) as guard:
                verb = await hold(guard, commands)
            if verb == "leave":
                say("left")
        except getlock_async.Lost as lost:
            say(f"lost {lost.symbol}" if lost.symbol else "lost")
        except getlock_async.Refused as refused:
            say(f"refused {refused.symbol}")
        except OSError:
            say("away")
        assert not asyncio.current_task().cancelling()


asyncio.run(story())
