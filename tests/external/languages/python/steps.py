"""The steps of ../steps.md, for the kind with threads: LINE_PORT HTTP_PORT."""
import os
import socket
import time

import steps_cluster
import steps_ended
import steps_kinds
import steps_server
import steps_timed
from stage import DRAINED, ODD_ANSWERS, ODD_WORDS, LineStub, raises, run, until

from getlock import GetLock, Lost, NotGranted, Refused


class Failure(Exception):
    """What a body raises."""


def acquire(world):
    locks = GetLock(port=world.line_port)
    guard = locks.acquire("acquire", 0)
    assert guard.name == "acquire" and guard.held() and guard.why is None and not guard.lost.is_set()
    assert world.eye.holder("acquire") == str(guard.session)
    assert guard.release() is True
    assert world.eye.is_free("acquire") and not guard.held() and guard.why is None
    assert guard.release() is True, "again"
    later = locks.acquire("acquire", 10)
    assert later.fencing_token > guard.fencing_token
    assert later.release() is True


def try_lock(world):
    locks = GetLock(port=world.line_port)
    world.other.take("try-lock")
    start = time.monotonic()
    assert locks.try_lock("try-lock") is None
    assert locks.try_lock("try-lock", shared=True) is None
    assert time.monotonic() - start < 5
    world.other.free("try-lock")
    guard = locks.try_lock("try-lock")
    assert guard is not None and not world.eye.is_free("try-lock")
    assert guard.release() is True


def nothing_is_no_block(world):
    world.other.take("nothing")
    ran = []
    with raises((TypeError, AttributeError)):
        with GetLock(port=world.line_port).try_lock("nothing"):
            ran.append(1)
    assert not ran


def not_granted(world):
    world.other.take("not-granted")
    for name in "not-granted", "NOT-GRANTED":
        start = time.monotonic()
        with raises(NotGranted) as seen:
            GetLock(port=world.line_port).acquire(name, timeout=0.2)
        assert 0.2 <= time.monotonic() - start < 10
        assert isinstance(seen[0], TimeoutError) and name in str(seen[0])


def body_needs_the_lock(world):
    world.other.take("body")
    ran = []
    for timeout in 0, 0.1:
        with raises(NotGranted):
            with GetLock(port=world.line_port).lock("body", timeout):
                ran.append(1)
    assert not ran


def decorator_needs_the_lock(world):
    locks, ran = GetLock(port=world.line_port), []

    @locks.lock("decorator", timeout=0)
    def body(number, *, word):
        """Says so."""
        assert not world.eye.is_free("decorator")
        ran.append(number)
        return word

    assert body.__name__ == "body" and body.__doc__ == "Says so." and not ran
    assert body(1, word="one") == "one" and body(2, word="two") == "two"
    assert world.eye.is_free("decorator")
    world.other.take("decorator")
    with raises(NotGranted):
        body(3, word="three")
    assert ran == [1, 2]

    async def late():
        pass

    with raises(TypeError):
        locks.lock("decorator")(late)
    with raises(TypeError):
        locks.lock("decorator")(lambda: (yield))


def body_result(world):
    locks = GetLock(port=world.line_port)
    block = locks.lock("result", 5)
    for _ in range(2):
        with block as guard:
            result = guard.fencing_token
        assert result == guard.fencing_token and world.eye.is_free("result")
    with raises(Failure) as seen:
        with block:
            with raises(RuntimeError):
                with block:
                    raise AssertionError("a block within itself")
            raise Failure("mine")
    assert str(seen[0]) == "mine" and seen[0].__cause__ is None
    assert world.eye.is_free("result")


def shared(world):
    locks = GetLock(port=world.line_port)
    with locks.lock("shared", 0, shared=True) as one, locks.acquire("shared", 0, True) as two:
        assert two.fencing_token > one.fencing_token
        assert locks.try_lock("shared") is None
    with locks.lock("shared", 0):
        assert locks.try_lock("shared", shared=True) is None


def refused(world):
    locks, ran = GetLock(port=world.line_port), []
    for name in "", "n" * 65, "a\0b":
        for take in locks.acquire, locks.try_lock:
            with raises(Refused, "BAD_NAME"):
                take(name)
        with raises(Refused, "BAD_NAME"):
            with locks.lock(name):
                ran.append(1)
    assert not ran
    _odd_answers()


def _odd_answers():
    """It is tried again, and nothing is granted."""
    ran = []
    for says in ODD_ANSWERS:
        with LineStub(answers=1000, says=says) as stub:
            with raises(OSError) as seen:
                with GetLock(port=stub.port).lock("odd", 0.3):
                    ran.append(1)
            assert not isinstance(seen[0], NotGranted) and stub.connections > 1, says
    with LineStub(answers=1000, says={"GET_LOCK": "ERROR KILLED"}) as stub:
        with raises(Refused, "KILLED"):
            GetLock(port=stub.port).acquire("odd")
    assert not ran


def introduced(world):
    with GetLock(port=world.line_port, name="it's me", note="nightly \\ backup").lock("introduced") as guard:
        row = world.eye.row("introduced")
        assert "client='it\\'s me' note='nightly \\\\ backup'" in row, row
        assert repr(guard) == f"<Guard 'introduced' session={guard.session} fencing_token={guard.fencing_token} held=True>"
    with GetLock(port=world.line_port).lock("introduced"):
        row = world.eye.row("introduced")
        assert f"@{socket.gethostname()}[{os.getpid()}] steps.py'" in row and "note=" not in row, row
    with GetLock(port=world.line_port, name="").lock("introduced"):
        assert "client=" not in world.eye.row("introduced")
    for wrong in {"name": "n" * 257}, {"note": "n" * 257}, {"name": "", "note": "none"}:
        with raises(ValueError):
            GetLock(**wrong)
    with LineStub(answers=1000, says={"INTRODUCE": "ERROR UNKNOWN_COMMAND it is older"}) as stub:
        assert GetLock(port=stub.port).acquire("introduced").release() is True


def server_away(world):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    locks, ran = GetLock(port=port, retry=0.5), []
    start = time.monotonic()
    with raises(OSError) as seen:
        with locks.lock("away"):
            ran.append(1)
    assert not isinstance(seen[0], NotGranted)
    assert 0.5 <= time.monotonic() - start < 10
    with raises(OSError):
        locks.try_lock("away")
    assert not ran


def _waiting_and(world, kill, symbol, name):
    ran = []

    def wait():
        with raises(Refused, symbol):
            with GetLock(port=world.line_port).lock(name):
                ran.append(1)

    world.other.take(name)
    waits = world.pool.submit(wait)
    until(lambda: world.eye.waiters(name), "the waiter")
    assert world.eye.ask(f"{kill} {world.eye.waiters(name)[0]}") == "1"
    waits.result(20)
    assert not ran and not world.eye.waiters(name)


def killed_waiting(world):
    _waiting_and(world, "KILL", "KILLED", "killed-waiting")


def interrupted_waiting(world):
    _waiting_and(world, "KILL QUERY", "INTERRUPTED", "interrupted-waiting")


def lost_in_the_body(world):
    with raises(Lost, "KILLED") as seen:
        with GetLock(port=world.line_port).lock("lost") as guard:
            world.eye.kill(guard.session)
            assert guard.lost.wait(20)
            assert not guard.held() and guard.why.symbol == "KILLED"
    assert seen[0] is guard.why
    with raises(Lost, "KILLED"):
        with guard:
            raise AssertionError("a block without the lock")
    _odd_words()


def _odd_words():
    """The lock is lost before its time is over, and nobody can hold up the client by sending."""
    for then in ODD_WORDS:
        with LineStub(answers=2, then=then) as stub:
            guard = GetLock(port=stub.port).acquire("odd")
            assert guard.lost.wait(20)
            assert time.monotonic() - stub.asked[1] < 0.5, guard.why
            assert not guard.held() and guard.release() is False
            until(stub.closed.is_set, "the end of the connection")


def lost_and_raised(world):
    locks = GetLock(port=world.line_port)
    for cause in None, ValueError("before"):
        with raises(Failure) as seen:
            with locks.lock("raised") as guard:
                world.eye.kill(guard.session)
                guard.lost.wait(20)
                raise Failure("mine") from cause
        error = seen[0] if cause is None else cause
        assert error.__cause__ is guard.why and isinstance(guard.why, Lost)


def release_after_loss(world):
    locks = GetLock(port=world.line_port)
    for waits in True, False:
        guard = locks.acquire("release", 5)
        world.eye.kill(guard.session)
        if waits:
            guard.lost.wait(20)
        assert guard.release() is False and guard.why.symbol == "KILLED" and guard.lost.is_set()
        assert guard.release() is False, "again"
    with LineStub(answers=1000, says=DRAINED) as stub:
        for _ in range(50):
            guard = GetLock(port=stub.port).acquire("drained")
            assert guard.release() is True and guard.why is None


def guard_as_block(world):
    locks = GetLock(port=world.line_port)
    with locks.acquire("guard") as guard:
        assert guard.held()
    assert world.eye.is_free("guard")
    with raises(RuntimeError):
        with guard:
            raise AssertionError("a block of what is released")
    with locks.acquire("guard") as guard:
        guard.release()
    with raises(Lost, "KILLED"):
        with locks.acquire("guard") as guard:
            world.eye.kill(guard.session)


if __name__ == "__main__":
    granting = [acquire, try_lock, nothing_is_no_block, not_granted, body_needs_the_lock, decorator_needs_the_lock]
    granting += [body_result, shared, refused, server_away, killed_waiting, interrupted_waiting]
    granting.append(introduced)
    losing = [lost_in_the_body, lost_and_raised, release_after_loss, guard_as_block]
    kinds = steps_cluster.STEPS + steps_kinds.STEPS + steps_server.STEPS
    run(granting + losing + steps_ended.STEPS + steps_timed.STEPS + kinds)
