"""ShareLock's clients, by HTTP and by gRPC: known by X-Client-Id, served in order, for a minute each."""
import time

from steps import Line, call, call_json, compiled, held_elsewhere, threads, until_free, until_waiting

messages, stubs, connection = compiled("sharelock.proto")
service = stubs.ShareLockServiceStub(connection)
ACQUIRED, NOT_ACQUIRED, RELEASED, TIMEOUT, UNKNOWN_LOCK, INVALID_DATA = range(1, 7)
assert messages.Status.Value("InvalidData") == INVALID_DATA
CODES = {TIMEOUT: 408, INVALID_DATA: 400}


def http(path, client, body):
    headers = {"X-Client-Id": client} if client is not None else {}
    code, reply = call_json("POST", path, body, headers)
    assert list(reply) == ["status"] and code == CODES.get(reply["status"], 200), (code, reply)
    return reply["status"]


def http_lock(client, key, timeout_ms=0):
    return http("/sharelock/lock", client, {"key": key, "timeoutMs": timeout_ms})


def http_unlock(client, key):
    return http("/sharelock/unlock", client, {"key": key})


def metadata(client):
    return [("x-client-id", client)] if client is not None else []


def grpc_lock(client, key, timeout_ms=0):
    return service.Lock(messages.LockRequest(key=key, timeoutMs=timeout_ms), metadata=metadata(client)).status


def grpc_unlock(client, key):
    return service.Unlock(messages.UnlockRequest(key=key), metadata=metadata(client)).status


def ping():
    for method in "GET", "POST", "PUT":
        assert call(method, "/sharelock/ping") == (200, "pong")
    assert service.Ping(messages.ShareLockPingRequest(message="ping")).message == "pong"


def a_client_holds_a_lock(lock, unlock, other_lock, other_unlock):
    assert lock("a", "job") == ACQUIRED
    assert lock("a", "job") == lock("b", "job") == other_lock("b", "job") == NOT_ACQUIRED
    assert held_elsewhere("job")
    assert unlock("b", "job") == other_unlock("b", "job") == UNKNOWN_LOCK, "not its own"
    assert held_elsewhere("job")
    assert other_unlock("a", "job") == RELEASED and unlock("a", "job") == UNKNOWN_LOCK
    assert other_lock("b", "job") == ACQUIRED and unlock("b", "job") == RELEASED


def a_wait_is_as_long_as_asked_for(lock, unlock):
    assert lock("a", "slow") == ACQUIRED
    since = time.monotonic()
    assert lock("b", "slow", 300) == TIMEOUT
    assert 0.3 <= time.monotonic() - since < 5
    assert unlock("b", "slow") == UNKNOWN_LOCK
    assert unlock("a", "slow") == RELEASED
    assert lock("b", "slow", 300) == ACQUIRED and unlock("b", "slow") == RELEASED


def waiters_are_served_in_order(lock, unlock):
    assert lock("0", "queue") == ACQUIRED
    waits = []
    for n in range(1, 5):
        waits.append(threads.submit(lock, str(n), "queue", 20_000))
        until_waiting("queue", n)
    for n, wait in enumerate(waits):
        assert not wait.done() and unlock(str(n), "queue") == RELEASED
        assert wait.result(5) == ACQUIRED
    assert unlock("4", "queue") == RELEASED


def who_leaves_while_it_waits_gets_nothing():
    assert grpc_lock("a", "left") == ACQUIRED
    wait = service.Lock.future(messages.LockRequest(key="left", timeoutMs=60_000), metadata=metadata("b"))
    until_waiting("left", 1)
    wait.cancel()
    until_waiting("left", 0)
    assert http_unlock("a", "left") == RELEASED
    until_free("left")


def with_other_wires():
    line = Line()
    assert line.ask("GET_LOCK mixed 0") == "1"
    assert http_lock("a", "mixed") == grpc_lock("a", "mixed") == NOT_ACQUIRED
    wait = threads.submit(http_lock, "a", "mixed", 20_000)
    until_waiting("mixed", 1)
    assert line.ask("RELEASE_LOCK mixed") == "1"
    assert wait.result(5) == ACQUIRED and http_unlock("a", "mixed") == RELEASED


ping()
a_client_holds_a_lock(http_lock, http_unlock, grpc_lock, grpc_unlock)
a_client_holds_a_lock(grpc_lock, grpc_unlock, http_lock, http_unlock)
for lock, unlock in (http_lock, http_unlock), (grpc_lock, grpc_unlock):
    a_wait_is_as_long_as_asked_for(lock, unlock)
    waiters_are_served_in_order(lock, unlock)
    for client in None, "":
        assert lock(client, "job") == unlock(client, "job") == INVALID_DATA, "who is it?"
    assert lock("a", "") == lock("a", "n" * 65) == unlock("a", "") == INVALID_DATA
who_leaves_while_it_waits_gets_nothing()
with_other_wires()

for path in "/sharelock/lock", "/sharelock/unlock":
    assert call("GET", path)[0] == call("DELETE", path)[0] == 405
    for body in b"", b"{", b"[1]", b'{"key": 5}':
        assert http(path, "a", body) == INVALID_DATA
# The identity is a header whatever its case, and a body need not say that it is JSON.
assert call("POST", "/sharelock/lock", '{"key":"bare"}', {"x-client-id": "a"}) == (200, '{"status":1}')
assert call("POST", "/sharelock/unlock", '{"key":"bare"}', {"X-CLIENT-ID": "a"}) == (200, '{"status":3}')
