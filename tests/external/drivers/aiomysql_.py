import asyncio
import sys

try:
    import aiomysql
except ImportError:
    sys.exit(77)
from steps import connection_arguments, steps

loop = asyncio.new_event_loop()
arguments = connection_arguments()
arguments["db"] = arguments.pop("database")
connection = loop.run_until_complete(aiomysql.connect(**arguments))


async def asked(sql, args):
    async with connection.cursor() as cursor:
        await cursor.execute(sql, args)
        return (await cursor.fetchone())[0]


steps(lambda sql, args: loop.run_until_complete(asked(sql, args)))
