import asyncio
import sys

try:
    import asyncmy
except ImportError:
    sys.exit(77)
from steps import connection_arguments, steps


async def main():
    pool = await asyncmy.create_pool(minsize=1, maxsize=1, **connection_arguments())
    loop = asyncio.get_running_loop()

    async def answer(sql, args):
        async with pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute(sql, args or None)
            return (await cursor.fetchone())[0]

    await asyncio.to_thread(steps, lambda sql, args: asyncio.run_coroutine_threadsafe(answer(sql, args), loop).result())


asyncio.run(main())
