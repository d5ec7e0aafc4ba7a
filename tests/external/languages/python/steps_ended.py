"""The steps of what is ended from outside, of processes, and of arguments; for the kind with threads."""
import contextlib
import functools
import gc
import itertools
import math
import os
import signal
import sys
import time

from stage import Holder, Stub, in_a_child, is_free_without, raises, until

from getlock import GetLock, Leases
from getlock._wire import Http


class Ended(Exception):
    """What a signal handler raises."""


class Signals:
    """Within, `send` makes the main thread raise the error, once."""

    def __init__(self, world, kind=Ended):
        self._world, self._kind, self._has_raised, self._sends = world, kind, False, None

    def __enter__(self):
        self._before = signal.signal(signal.SIGUSR1, self._handle)
        return self

    def __exit__(self, *_):
        if self._sends:
            self._sends.result(20)
        signal.signal(signal.SIGUSR1, self._before)

    def send_after(self, event):
        self._sends = self._world.pool.submit(self._send, event)

    def _send(self, event):
        event()
        # Python does not see a signal that comes just before it waits, so there may be a second one.
        while not self._has_raised:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(0.05)

    def _handle(self, *_):
        if not self._has_raised:
            self._has_raised = True
            raise self._kind("the signal")


def ended_while_waiting(world):
    locks, leases, ran = GetLock(port=world.line_port), Leases(world.url), []
    world.other.take("waiting")
    # A broken connection would be tried again. A TimeoutError of a handler is none, though it is an OSError.
    for server in locks, leases:
        for kind in Ended, KeyboardInterrupt, TimeoutError, ConnectionError, IOError:
            with raises(kind) as seen, Signals(world, kind) as signals:
                signals.send_after(lambda: until(lambda: world.eye.waiters("waiting"), "the waiter"))
                with server.lock("waiting"):
                    ran.append(1)
            assert str(seen[0]) == "the signal"
            until(lambda: not world.eye.waiters("waiting"), "the empty queue")
    world.other.free("waiting")
    assert world.eye.is_free("waiting") and not ran


def raised_in_line(number):
    """Whether an error gets out of the reading of an answer that a handler raises at that line. None past the last."""
    count = 0

    def raising(_frame, event, _arg):
        nonlocal count
        count += event in ("call", "line")
        if event in ("call", "line") and count == number:
            sys.settrace(None)
            raise Ended("the signal")
        return raising

    before = sys.gettrace()
    sys.settrace(raising)
    try:
        Http.answer(b'HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{"status":"Gained"}')
    except Ended:
        return True
    finally:
        sys.settrace(before)
    return None if count < number else False


def ended_as_granted(world):
    gc.disable()  # Python forgets what is raised while it collects garbage
    try:
        lines = list(iter(map(raised_in_line, itertools.count(1)).__next__, None))
    finally:
        gc.enable()
    assert len(lines) > 100 and all(lines), "what a handler raises is forgotten while an answer is read"
    servers = GetLock(port=world.line_port), Leases(world.url)

    def grant(number):
        until(lambda: world.eye.waiters("granted"), "the waiter")
        world.other.free("granted")
        time.sleep(number % 20 * 0.0001)

    for number in range(40):
        world.other.take("granted")
        with raises(Ended), Signals(world) as signals:
            signals.send_after(functools.partial(grant, number))
            with servers[number % 2].lock("granted"):
                time.sleep(20)
        until(lambda: world.eye.is_free("granted"), f"the end of the lock, in round {number},")
    assert not world.eye.waiters("granted")


def ended_while_holding(world):
    for kind in Ended, TimeoutError:
        with raises(kind), Signals(world, kind) as signals:
            with GetLock(port=world.line_port).lock("holding"):
                assert not world.eye.is_free("holding")
                signals.send_after(lambda: None)
                time.sleep(20)
        assert world.eye.is_free("holding")


def fork_leaves(world):
    locks = GetLock(port=world.line_port)
    for take in locks.lock, locks.acquire:
        with contextlib.ExitStack() as block:
            guard = block.enter_context(take("fork-leaves"))
            assert in_a_child(lambda: not guard.held() and guard.lost.is_set() and guard.why is None)
            assert in_a_child(lambda: guard.release() is False)
            assert in_a_child(lambda: block.close() is None)
            assert guard.held() and world.eye.holder("fork-leaves") == str(guard.session)
            assert guard.release() is True
        assert world.eye.is_free("fork-leaves")


def fork_exits(world):
    holder = Holder(world.line_port, "fork-exits", "exits")
    assert holder.said() == "True", "it holds the lock"
    assert not world.eye.is_free("fork-exits")
    holder.tell()
    assert holder.said() == "True", "its release"
    assert world.eye.is_free("fork-exits")
    holder.kill()


def fork_outlives(world):
    is_free_without(Holder(world.line_port, "fork-outlives", "child"), world, "fork-outlives")


def close_on_exec(world):
    is_free_without(Holder(world.line_port, "close-on-exec", "command"), world, "close-on-exec")


def forever(world):
    locks = GetLock(port=world.line_port)
    for timeout in None, math.inf, -1, -math.inf, 1e300, 2**63, 10**400:
        world.other.take("forever")
        waits = world.pool.submit(locks.acquire, "forever", timeout)
        until(lambda: world.eye.waiters("forever"), "the waiter")
        world.other.free("forever")
        assert waits.result(20).release() is True


def wrong_timeouts(world):
    with Stub() as stub:
        locks, leases = GetLock(port=stub.port), Leases(stub.url)
        for wrong in math.nan, "10", "", True, False, b"1", [1], 1j, object():
            for take in locks.acquire, locks.lock, leases.acquire, leases.lock:
                with raises(ValueError if wrong is math.nan else TypeError):
                    take("wrong", wrong)
            with raises((TypeError, ValueError)):
                GetLock(port=stub.port, stop_within=wrong)
        assert stub.connections == 0


def wrong_arguments(world):
    with Stub() as stub:
        locks, leases = GetLock(port=stub.port), Leases(stub.url)
        for take in locks.acquire, locks.lock, leases.acquire, leases.lock:
            with raises(TypeError):
                take(10, "nightly")
            with raises(TypeError):
                take("nightly", 10, shared="yes")
        for name in None, 7, b"nightly", {"nightly"}, ["nightly", 7]:
            for take in locks.acquire, locks.try_lock, locks.lock, leases.acquire, leases.try_lock:
                with raises(TypeError):
                    take(name)
        for take in locks.acquire, locks.try_lock, locks.lock, leases.acquire, leases.try_lock:
            with raises(ValueError):
                take("half\ud83d")
        for wrong in {"port": "3305"}, {"host": 3305}, {"tls": True}, {"user": 7}, {"retry": "30"}:
            with raises(TypeError):
                GetLock(**wrong)
        for wrong in "127.0.0.1:3308", "ftp://127.0.0.1", "":
            with raises(ValueError):
                Leases(wrong)
        with raises(ValueError):
            GetLock(retry=-1)
        assert stub.connections == 0


STEPS = [ended_while_waiting, ended_as_granted, ended_while_holding, fork_leaves, fork_exits, fork_outlives]
STEPS += [close_on_exec, forever, wrong_timeouts, wrong_arguments]
