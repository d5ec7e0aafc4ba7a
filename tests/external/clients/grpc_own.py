"""Leases by gRPC: every function of the service, and every status code that proto/getlockd.proto names.

Given a number of leases as third argument, takes one more than that."""
import subprocess
import sys
import time

from steps import PATIENCE, Line, channel, compiled, held_elsewhere, refused, until

messages, stubs, connection = compiled("getlockd.proto")
locks, other = stubs.LocksStub(connection), stubs.LocksStub(channel())
line = Line()


def acquire(name, wait_ms=0, by=locks, **wish):
    return by.Acquire(messages.AcquireRequest(name=name, wait_ms=wait_ms, **wish), timeout=PATIENCE)


def waiting(name, wait_ms=60_000, by=locks, **wish):
    """An Acquire that has come to wait."""
    before = waiters(name)
    future = by.Acquire.future(messages.AcquireRequest(name=name, wait_ms=wait_ms, **wish))
    until(lambda: waiters(name) == before + 1)
    return future


def renew(name, token, **wish):
    return locks.Renew(messages.RenewRequest(name=name, lease_token=token, **wish))


def release(name, token):
    return locks.Release(messages.ReleaseRequest(name=name, lease_token=token))


def holds(name):
    return locks.Status(messages.StatusRequest(name=name)).holds


def listed(prefix):
    return locks.List(messages.ListRequest(prefix=prefix))


def waiters(name):
    return holds(name)[0].waiters


def left_ms(lease):
    return lease.expires_at_ms - time.time_ns() // 1_000_000


if sys.argv[3:] == ["vanish"]:
    # Takes a lock's last place in the queue; this process is then ended by force.
    locks.Acquire(messages.AcquireRequest(name="vanishing", wait_ms=-1))


def a_lock_is_held_by_one():
    held = acquire("nightly")
    assert len(held.lease_token) == 32 and int(held.lease_token, 16) >= 0
    assert (held.waiters, held.waited_ms) == (0, 0)
    assert 40_000 < left_ms(held) <= 45_001
    assert refused("ABORTED", acquire, "nightly", by=other)
    assert refused("ABORTED", acquire, "Nightly", wait_ms=20), "case does not matter"
    assert held_elsewhere("nightly")
    release("nightly", held.lease_token.upper())
    again = acquire("nightly")
    assert again.fencing_token > held.fencing_token and again.lease_token != held.lease_token
    release("nightly", again.lease_token)
    assert not held_elsewhere("nightly")


def waiters_are_served_in_order():
    held = acquire("queue")
    first, second = waiting("queue"), waiting("queue", by=other)
    renewed = renew("queue", held.lease_token)
    assert renewed.waiters == 2 and renewed.HasField("first_waited_ms")
    assert renewed.fencing_token == held.fencing_token
    release("queue", held.lease_token)
    granted = first.result(PATIENCE)
    assert granted.waiters == 1 and not second.done()
    release("queue", granted.lease_token)
    later = second.result(PATIENCE)
    assert held.fencing_token < granted.fencing_token < later.fencing_token
    release("queue", later.lease_token)


def a_wait_ends_at_its_time_or_by_kill():
    held = acquire("short")
    since = time.monotonic()
    assert refused("ABORTED", acquire, "short", wait_ms=200)
    assert time.monotonic() - since >= 0.2
    for kill in "KILL", "KILL QUERY":
        future = waiting("short", wait_ms=-1)
        row = line.rows("WAITERS short")[0]
        assert line.ask(f"{kill} {row.split('session=')[1].split()[0]}") == "1"
        assert refused("ABORTED", future.result, PATIENCE)
    release("short", held.lease_token)


def tokens_that_are_none():
    held = acquire("yours")
    stranger = "0" * 32
    for function in renew, release:
        assert refused("FAILED_PRECONDITION", function, "yours", stranger)
        assert refused("NOT_FOUND", function, "nobody's", held.lease_token), "a token is of one name"
        assert refused("NOT_FOUND", function, "nobody's", stranger)
        assert "32" in refused("INVALID_ARGUMENT", function, "yours", "short")
    release("yours", held.lease_token)
    assert refused("NOT_FOUND", release, "yours", held.lease_token)
    assert refused("NOT_FOUND", renew, "yours", held.lease_token)


def arguments_that_make_no_sense():
    for name in "", "n" * 65, "nul\0":
        assert "name" in refused("INVALID_ARGUMENT", acquire, name)
        assert "name" in refused("INVALID_ARGUMENT", holds, name)
    assert refused("INVALID_ARGUMENT", listed, "n" * 65)
    for ttl_ms in 0, 9, 31 * 24 * 3_600_000 + 1, 2**64 - 1:
        assert "--lease-m" in refused("INVALID_ARGUMENT", acquire, "ttl", ttl_ms=ttl_ms)
    for text in {"client": "o" * 257}, {"note": "n" * 257}:
        assert refused("INVALID_ARGUMENT", acquire, "long", **text)
    held = acquire("ttl", ttl_ms=31 * 24 * 3_600_000, wait_ms=2**63 - 1)
    assert refused("INVALID_ARGUMENT", renew, "ttl", held.lease_token, ttl_ms=9)
    assert 55_000 < left_ms(renew("ttl", held.lease_token, ttl_ms=60_000)) <= 60_001
    release("ttl", held.lease_token)


def shared_by_two():
    one, two = acquire("read", mode=messages.SHARED), acquire("read", mode=messages.SHARED, by=other)
    assert [hold.mode for hold in holds("read")] == [messages.SHARED] * 2
    assert [hold.fencing_token for hold in holds("read")] == [one.fencing_token, two.fencing_token]
    writer = waiting("read")
    assert refused("ABORTED", acquire, "read", mode=messages.SHARED), "it does not overtake"
    release("read", one.lease_token)
    assert not writer.done()
    release("read", two.lease_token)
    release("read", writer.result(PATIENCE).lease_token)


def everybody_sees_who_and_why_and_nobody_the_token():
    held = acquire("seen:b", client="web-1", note="nightly backup")
    plain = acquire("seen:a")
    seen = listed("SEEN:")
    assert [lock.name for lock in seen.locks] == ["seen:a", "seen:b"] and seen.total == 2
    [hold] = holds("seen:b")
    assert (hold.client, hold.note, hold.wire) == ("web-1", "nightly backup", "grpc")
    assert hold.fencing_token == held.fencing_token and hold.mode == messages.EXCLUSIVE
    assert hold.peer.startswith("127.0.0.1:") and hold.session > 0
    assert abs(hold.expires_at_ms - held.expires_at_ms) < 1_000
    assert not holds("seen:a")[0].HasField("client") and not holds("seen:nobody")
    shown = f"{seen} {hold} {line.rows('LOCKS')} {line.rows('SESSIONS')}"
    assert "web-1" in shown and held.lease_token not in shown and plain.lease_token not in shown
    release("seen:b", held.lease_token), release("seen:a", plain.lease_token)
    assert listed("seen:").total == 0


def who_leaves_while_it_waits_leaves_the_queue():
    held = acquire("left")
    future = waiting("left")
    future.cancel()
    until(lambda: waiters("left") == 0)
    for_ever = messages.AcquireRequest(name="left", wait_ms=-1)
    assert refused("DEADLINE_EXCEEDED", locks.Acquire, for_ever, timeout=0.1)
    until(lambda: waiters("left") == 0)
    release("left", held.lease_token)
    held = acquire("vanishing")
    process = subprocess.Popen([sys.executable, __file__, *sys.argv[1:3], "vanish"])
    until(lambda: waiters("vanishing") == 1)
    process.kill(), process.wait()
    until(lambda: waiters("vanishing") == 0)
    release("vanishing", held.lease_token)


def a_lease_ends_at_its_time():
    held = acquire("brief", ttl_ms=300)
    heir = waiting("brief").result(PATIENCE)
    assert left_ms(held) <= 5
    assert refused("FAILED_PRECONDITION", renew, "brief", held.lease_token)
    release("brief", heir.lease_token)
    assert refused("NOT_FOUND", renew, "brief", held.lease_token)
    held = acquire("brief", ttl_ms=300)
    until(lambda: not holds("brief"))
    assert refused("NOT_FOUND", renew, "brief", held.lease_token)


def there_are_so_many_leases_at_most(most):
    held = [acquire(f"many:{n}").lease_token for n in range(most)]
    assert refused("RESOURCE_EXHAUSTED", acquire, "many:more")
    for n, token in enumerate(held):
        release(f"many:{n}", token)


for check in (
    a_lock_is_held_by_one, waiters_are_served_in_order, a_wait_ends_at_its_time_or_by_kill, tokens_that_are_none,
    arguments_that_make_no_sense, shared_by_two, everybody_sees_who_and_why_and_nobody_the_token,
    who_leaves_while_it_waits_leaves_the_queue, a_lease_ends_at_its_time,
):
    check()
if sys.argv[3:]:
    there_are_so_many_leases_at_most(int(sys.argv[3]))
