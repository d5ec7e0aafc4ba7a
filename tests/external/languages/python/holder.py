"""A process that takes a lock and then does what it is told: PORT NAME DEED [aio]."""
import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
import warnings

import getlock
import getlock.aio

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
port, name, deed = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def fork(work):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child


def start(kind):
    """Starts what outlives this process."""
    if kind == "child":
        started = fork(lambda: time.sleep(60))
    else:
        null = subprocess.DEVNULL
        started = subprocess.Popen(["sleep", "60"], close_fds=False, stdin=null, stdout=null, stderr=null).pid
    print(started, flush=True)
    time.sleep(60)


def forsake(guard):
    """What a child may do on its way out: the guard is collected, in the end by the interpreter."""
    del guard
    gc.collect()
    sys.exit(0)


def let_children_end(guard, exits):
    children = [fork(exits), fork(lambda: os._exit(0)), fork(lambda: time.sleep(60))]
    os.kill(children[2], signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)


def threads():
    guard = getlock.GetLock(port=port).acquire(name)
    if deed in ("child", "command"):
        start(deed)
    let_children_end(guard, lambda: forsake(guard))
    print(guard.held(), flush=True)
    sys.stdin.readline()
    print(guard.release(), flush=True)


async def tasks():
    guard = await getlock.aio.GetLock(port=port).acquire(name)
    if deed in ("child", "command"):
        start(deed)
    # A copy of a running loop cannot be ended in order, so no child exits by way of it.
    let_children_end(guard, gc.collect)
    print(guard.held(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print(await guard.release(), flush=True)


if "aio" in sys.argv:
    asyncio.run(tasks())
else:
    threads()
