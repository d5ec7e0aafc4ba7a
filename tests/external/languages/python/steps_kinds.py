"""More of the steps of ../steps.md, for the kind with threads: several names, permits, being told, leading."""
import socket
import threading
import time

from stage import FREED, LOST, TAKEN, WAITING, LineStub, raises, until, watched_and_drained

from getlock import GetLock, Leases, NotGranted, Refused


def several(world):
    with LineStub(answers=1000) as stub:
        with GetLock(port=stub.port, name="").lock(["a", "it's b", "a"]) as guard:
            assert guard.names == ("a", "it's b") and guard.name == "a" and guard.fencing_token == 8
        assert stub.lines == ["HELLO", "GET_LOCKS 'a' 'it''s b' -1", "FENCING_TOKEN 'a'", "RELEASE_LOCKS 'a' 'it''s b'"]
        GetLock(port=stub.port).acquire(["a", "b"], shared=True).release()
        assert "GET_SHARED_LOCKS 'a' 'b' -1" in stub.lines
        GetLock(port=stub.port).acquire(["a"], 0).release()
        assert "GET_LOCK 'a' 0.000000" in stub.lines, "which older servers know too"
    with LineStub(answers=1000, says={"GET_LOCKS": "0 'it\\'s b'"}) as stub:
        with raises(NotGranted) as seen:
            GetLock(port=stub.port).acquire(["a", "it's b"], 0)
        assert seen[0].in_the_way == "it's b" and "it's b" in str(seen[0])
        assert GetLock(port=stub.port).try_lock(["a", "it's b"]) is None
        for wrong in [], [str(number) for number in range(65)]:
            with raises(ValueError):
                GetLock(port=stub.port).acquire(wrong)
        assert stub.connections == 2
    with LineStub(answers=1000, says={"GET_LOCKS": "0"}) as stub:
        with raises(OSError) as seen:
            GetLock(port=stub.port).acquire(["a", "b"], 0.3)
        assert not isinstance(seen[0], NotGranted), "a name is missing"


def permits(world):
    with LineStub(answers=1000) as stub:
        with GetLock(port=stub.port, name="").lock("gpu", limit=3) as guard:
            assert guard.held()
        assert stub.lines == ["HELLO", "GET_PERMIT 'gpu' 3 -1", "FENCING_TOKEN 'gpu'", "RELEASE_LOCK 'gpu'"]
    with LineStub(answers=1000, says={"GET_PERMIT": "ERROR LIMIT_DIFFERS the limit is 2"}) as stub:
        with raises(Refused, "LIMIT_DIFFERS"):
            GetLock(port=stub.port).acquire("gpu", limit=3)
        locks, leases = GetLock(port=stub.port), Leases(stub.url)
        for take in locks.acquire, locks.lock, leases.acquire, leases.lock:
            for wrong in 0, 65536, "3", True, 1.0:
                with raises((TypeError, ValueError)):
                    take("gpu", limit=wrong)
            with raises(ValueError):
                take("gpu", shared=True, limit=3)
            with raises(ValueError):
                take(["gpu", "cpu"], limit=3)
        assert stub.connections == 1


def told_of_waiters(world):
    seen, both = [], threading.Event()

    def tell(event):
        seen.append(event)
        if len(seen) == 1:
            raise ValueError("of the function, which does not end the telling")
        both.set()

    threading.excepthook = lambda _: None
    says = {"FENCING_TOKEN": f"8\n{WAITING}\n{WAITING}", "RELEASE_LOCK": f"{WAITING}\n* NEW word=1\n1"}
    with LineStub(answers=1000, says=says) as stub:
        guard = GetLock(port=stub.port).acquire("told", on_waiter=tell)
        assert both.wait(20) and guard.held()
        event = seen[0]
        assert (event.kind, event.name, event.session, event.mode) == ("waiting", "it's \\ here", 9, "exclusive")
        assert event.waiters == 1 and event.fields["session"] == "9" and event.count is None
        assert stub.lines.index("EVENTS ON") < stub.lines.index("GET_LOCK 'told' -1")
        assert guard.release() is True
        # Without the wish nothing is asked for, and what comes all the same is no reply.
        del stub.lines[:]
        with GetLock(port=stub.port).lock("told") as guard:
            time.sleep(0.3)
            assert guard.held()
        assert "EVENTS ON" not in stub.lines
    with LineStub(answers=1000, says={"EVENTS": "ERROR UNKNOWN_COMMAND it is older"}) as stub:
        with raises(Refused, "UNKNOWN_COMMAND"):
            GetLock(port=stub.port).acquire("told", on_waiter=tell)
    with raises(TypeError):
        GetLock().acquire("told", on_waiter="tell")


def watched(world):
    says = {"WATCH": f"1\n{TAKEN}\n* NEW word=1\n{FREED}\n{LOST}\n* MISSED count=12"}
    with LineStub(answers=1000, says=says) as stub:
        with GetLock(port=stub.port).watch("app/") as watch:
            taken, freed, lost, missed = (next(watch) for _ in range(4))
            assert [one.kind for one in (taken, freed, lost, missed)] == ["taken", "freed", "lost", "missed"]
            assert (taken.name, taken.session, taken.mode) == ("app/a", 9, "permit")
            assert taken.fencing_token == 1795168800000012
            assert taken.fields["limit"] == "3" and taken.held is None
            assert (freed.held, freed.cause, lost.held, lost.cause) == (1.5, "release", 0.25, "killed")
            assert lost.name == "app/two words" and missed.count == 12 and missed.name == ""
            assert stub.lines[-1] == "WATCH 'app/'"
            waiting = world.pool.submit(lambda: list(watch))
            time.sleep(0.1)
            watch.close()
            assert waiting.result(20) == []
            assert stub.closed.wait(20)
    # A connection that breaks is made again, and that is told.
    with LineStub(answers=1000, says={"WATCH": watched_and_drained}) as stub:
        watch = GetLock(port=stub.port).watch()
        assert [next(watch).kind for _ in range(4)] == ["taken", "missed", "taken", "missed"]
        watch.close()
        assert stub.lines[-1] == "WATCH" and list(watch) == []
    with LineStub(answers=1000, says={"WATCH": "ERROR UNKNOWN_COMMAND it is older"}) as stub:
        with raises(Refused, "UNKNOWN_COMMAND"):
            next(GetLock(port=stub.port).watch())
    with raises(TypeError):
        GetLock().watch(7)


def leads_again(world):
    """It is killed and told, and leads again behind the next; then its body returns, and leads again; and fails."""
    terms, told, may_return = [], [], threading.Event()

    def body(guard):
        terms.append(guard.fencing_token)
        if len(terms) == 1:
            assert guard.lost.wait(20)
            told.append(guard.why.symbol)
            raise guard.why
        if len(terms) == 3:
            raise KeyError("done")
        assert may_return.wait(20)

    locks = GetLock(port=world.line_port)
    election = world.pool.submit(lambda: locks.lead("leads", body))
    for term in 1, 2:
        until(lambda: len(terms) == term, "the term")
        other = world.pool.submit(lambda: GetLock(port=world.line_port).acquire("leads"))
        until(lambda: world.eye.waiters("leads"), "the other candidate")
        if term == 1:
            world.eye.kill(world.eye.holder("leads"))
        else:
            may_return.set()
        leader = other.result(20)
        until(lambda: world.eye.waiters("leads"), "the one who led")
        assert leader.release() is True
    with raises(KeyError):
        election.result(20)
    assert told == ["KILLED"]
    assert terms == sorted(set(terms)) and world.eye.is_free("leads")


def ends_to_lead(world):
    locks = GetLock(port=world.line_port)
    with raises(ZeroDivisionError):
        locks.lead("ends", lambda guard: 1 // 0)
    assert world.eye.is_free("ends")
    with raises(Refused, "BAD_NAME"):
        locks.lead("", lambda guard: None)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with raises(OSError):
        GetLock(port=port, retry=0.2).lead("away", lambda guard: None)


STEPS = [several, permits, told_of_waiters, watched, leads_again, ends_to_lead]
