"""NetLocker's clients, by HTTP and by gRPC. They only try, and are known by a unique id."""
import time

from steps import Line, call, compiled, held_elsewhere, refused, with_query

messages, stubs, connection = compiled("netlocker.proto")
service = stubs.NetLockerServiceStub(connection)
INVALID = (422, "invalid request data")


def http_lock(key, time_lock=60, **unique_id):
    return call("GET", with_query("/netlocker/lock", key=key, time_lock=time_lock, **unique_id))


def http_unlock(key, **unique_id):
    return call("GET", with_query("/netlocker/unlock", key=key, **unique_id))


def grpc_lock(key, time_lock=60, unique_id=None):
    request = messages.NetLockRequest(Key=key, TimeLock=time_lock, UniqueId=unique_id)
    return 200, str(service.TryAndLock(request).Success).lower()


def grpc_unlock(key, unique_id=None):
    request = messages.NetUnlockRequest(Key=key, UniqueId=unique_id)
    return 200, str(service.Unlock(request).Success).lower()


YES, NO = (200, "true"), (200, "false")


def by_its_unique_id(lock, unlock, other_lock, other_unlock):
    assert lock("job", unique_id="a") == YES
    assert lock("job", unique_id="a") == other_lock("job", unique_id="a") == YES, "it has it already"
    assert lock("job", unique_id="b") == other_lock("job", unique_id="b") == lock("job") == NO
    assert held_elsewhere("job")
    assert unlock("job", unique_id="b") == other_unlock("job") == unlock("job") == NO, "not theirs"
    assert held_elsewhere("job")
    assert other_unlock("job", unique_id="a") == YES
    assert unlock("job", unique_id="a") == unlock("job") == NO, "free"
    assert other_lock("job", unique_id="b") == YES and unlock("job", unique_id="b") == YES


def without_an_id(lock, unlock):
    assert lock("plain") == YES
    assert lock("plain") == lock("plain", unique_id="a") == NO, "there is no telling who asks"
    assert lock("plain", unique_id="") == NO, "an empty one is none"
    assert unlock("plain", unique_id="a") == NO
    assert unlock("plain") == YES and unlock("plain") == NO
    assert not held_elsewhere("plain")


def a_lock_ends_at_its_time_which_its_owner_cannot_put_off(lock, unlock):
    line, since = Line(), time.monotonic()
    assert lock("brief", time_lock=1, unique_id="a") == YES
    assert lock("brief", time_lock=60, unique_id="a") == YES
    assert line.ask("GET_LOCK brief 20") == "1" and 0.9 < time.monotonic() - since < 10
    assert unlock("brief", unique_id="a") == NO and lock("brief", unique_id="a") == NO
    assert line.ask("RELEASE_LOCK brief") == "1"
    assert lock("brief", unique_id="b") == YES and unlock("brief", unique_id="b") == YES


def one_of_many_has_it(lock, unlock):
    from steps import threads

    got = list(threads.map(lambda n: lock("race", unique_id=f"client {n}"), range(30)))
    assert got.count(YES) == 1 and got.count(NO) == 29
    assert unlock("race", unique_id=f"client {got.index(YES)}") == YES


by_its_unique_id(http_lock, http_unlock, grpc_lock, grpc_unlock)
by_its_unique_id(grpc_lock, grpc_unlock, http_lock, http_unlock)
for lock, unlock in (http_lock, http_unlock), (grpc_lock, grpc_unlock):
    without_an_id(lock, unlock)
    a_lock_ends_at_its_time_which_its_owner_cannot_put_off(lock, unlock)
    one_of_many_has_it(lock, unlock)

for time_lock in 0, -1, "soon", "":
    assert http_lock("job", time_lock=time_lock) == INVALID
assert call("GET", "/netlocker/lock?key=job") == INVALID, "a time is needed"
assert http_lock("") == http_lock("n" * 65) == http_unlock("") == INVALID
assert call("GET", "/netlocker/lock?time_lock=1") == call("GET", "/netlocker/unlock") == INVALID
assert refused("INVALID_ARGUMENT", grpc_lock, "") == INVALID[1]
assert refused("INVALID_ARGUMENT", grpc_unlock, "") == INVALID[1]
assert refused("INVALID_ARGUMENT", grpc_lock, "job", time_lock=0) == INVALID[1]
assert not held_elsewhere("job")
