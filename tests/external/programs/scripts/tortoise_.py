import asyncio
import sys

try:
    from tortoise import Tortoise, connections
except ImportError:
    sys.exit(77)
from steps import connection_arguments, steps


async def main():
    credentials = {"maxsize": 1, **connection_arguments()}
    await Tortoise.init(config={
        "connections": {"default": {"engine": "tortoise.backends.mysql", "credentials": credentials}},
        "apps": {"locks": {"models": ["steps"]}},  # a module without models
    })
    client = connections.get("default")
    async with client._in_transaction() as inside:
        await inside.execute_query("SELECT 1")
    loop = asyncio.get_running_loop()

    def ask(sql, args):
        rows = asyncio.run_coroutine_threadsafe(client.execute_query_dict(sql, list(args) or None), loop).result()
        return next(iter(rows[0].values()))

    await asyncio.to_thread(steps, ask)


asyncio.run(main())
