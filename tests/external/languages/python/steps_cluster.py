"""The steps of a cluster, against stubs of its nodes; for the kind with threads."""
import time

from stage import NO_LEADER, NO_LEADER_HTTP, Elsewhere, LeaseStub, LineStub, nowhere, raises, until

from getlock import GetLock, Leases, Lost

BOTH = "127.0.0.1:{},127.0.0.1:{}".format


def several_addresses(world):
    with LineStub(answers=1000) as good:
        locks = GetLock(BOTH(nowhere(), good.port), retry=0)
        assert locks.acquire("several", timeout=0).release() is True
        for words in b"", NO_LEADER, b"ERROR SHUTDOWN the server is stopping\n":
            with Elsewhere(words) as other:
                locks = GetLock(["127.0.0.1", f"127.0.0.1:{good.port}"], other.port, retry=0)
                for _ in range(3):
                    assert locks.acquire("several", timeout=0).release() is True
                assert other.connections == 1, "the last good one is the first"
    with Elsewhere(NO_LEADER) as one, Elsewhere(NO_LEADER) as two, raises(Exception):
        GetLock(BOTH(one.port, two.port)).acquire("several", timeout=0)
    assert (one.connections, two.connections) == (1, 1)
    for wrong in "", "a:3305,", "a:99999", []:
        with raises((ValueError, OSError)):
            GetLock(wrong, retry=0).acquire("several", timeout=0)


def parked(world):
    def wait(one):
        time.sleep(4)
        one.sendall(b"HELLO version=0.1.0 protocol=1 session=7\n")

    with LineStub(answers=1000, says={"HELLO": wait}) as node, LineStub(answers=1000) as other:
        GetLock(BOTH(node.port, other.port), name="").acquire("parked", timeout=0).release()
        assert (node.connections, other.connections) == (1, 0)


def told_in_a_cluster(world):
    with LineStub(answers=1000, promises=["left=0.800 term=7", "left=1.000 term=7", "left=0.700 term=7"]) as stub:
        with GetLock(port=stub.port, stop_within=0.2).lock("told") as guard:
            until(lambda: len(stub.asked) > 12, "questions")
            assert guard.held(), "as long as it is answered"
        spans = [later - sooner for sooner, later in zip(stub.asked[3:], stub.asked[4:])]
        assert 0.1 < sorted(spans)[len(spans) // 2] < 0.18, "a ninth of the longest promise"
    with LineStub(answers=3, promises=["left=1.000 term=7"]) as stub:
        guard = GetLock(port=stub.port, stop_within=0.3).acquire("told")
        assert guard.lost.wait(20)
        assert time.monotonic() - stub.asked[2] < 0.8 and isinstance(guard.why, Lost)
    with LineStub(answers=1000, promises=["left=1.000 term=7"]) as stub:
        with raises(ValueError):
            GetLock(port=stub.port, stop_within=0.31).acquire("told")


def old_leader(world):
    with LineStub(answers=1000, promises=["left=1.000 term=8"] * 2 + ["left=1.000 term=7"]) as stub:
        locks = GetLock(port=stub.port, retry=0.2)
        guard = locks.acquire("old")
        assert guard.lost.wait(20) and len(stub.asked) == 3 and not guard.held()
        assert stub.closed.wait(20)
        with raises(OSError):
            locks.acquire("old", timeout=0)
    with LineStub(answers=1000, promises=["left=1.000 term=8", "left=1.000 term=9"]) as stub:
        guard = GetLock(port=stub.port).acquire("old")
        assert guard.lost.wait(20) and len(stub.asked) == 2, "a connection is of one term"
    with LineStub(answers=1000, grant_after=1.2, promises=["left=1.000 term=8", "left=0.000 term=8"]) as stub:
        with raises(OSError):
            GetLock(port=stub.port, retry=0).acquire("old", timeout=0)
        assert stub.closed.wait(20), "a grant with no time left is none"


def waits_for_the_next(world):
    # The leader vanishes while a client waits: its questions find that out.
    with LineStub(answers=2, grant_after=60, promises=["left=0.500 term=7"]) as old, LineStub(
        answers=1000, promises=["left=1.000 term=8"]
    ) as new:
        start = time.monotonic()
        guard = GetLock(BOTH(old.port, new.port)).acquire("waits", timeout=30)
        assert 0.8 < time.monotonic() - start < 5 and len(old.asked) == 1 and new.connections == 1
        assert guard.release() is True


def lease_addresses(world):
    urls = "http://127.0.0.1:{},http://127.0.0.1:{}".format
    with LeaseStub() as good:
        for words in b"", NO_LEADER_HTTP:
            with Elsewhere(words) as other:
                leases = Leases(urls(other.port, good.port))
                for _ in range(2):
                    assert leases.acquire("addresses", timeout=0).release() is True
                assert other.connections == 1
        assert Leases(urls(nowhere(), good.port), retry=0).acquire("addresses", timeout=0).release() is True
    # The lease outlives the leader: the next node takes its heartbeats.
    with LeaseStub({"heartbeat": {"success": False}}) as one, LeaseStub({"heartbeat": {}}) as two:
        with Leases([one.url, two.url]).lock("addresses", ttl=1) as lease:
            until(lambda: len(two.beats) > 4, "heartbeats to the other")
            assert lease.held() and len(one.beats) == 1
    with LeaseStub({"acquire": {"term": 8}, "heartbeat": {"term": 7}}) as old:
        lease = Leases(old.url).acquire("addresses", ttl=1)
        assert lease.lost.wait(20) and len(old.beats) > 1, "what an old leader acknowledges does not count"


STEPS = [several_addresses, parked, told_in_a_cluster, old_leader, waits_for_the_next, lease_addresses]
