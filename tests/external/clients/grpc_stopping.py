"""A server that is told to stop once this script says so, while others hold and wait by gRPC."""
import http.client
import queue

from steps import HTTP_PORT, PATIENCE, compiled, refused, until

messages, stubs, connection = compiled("getlockd.proto")

from grpc_health.v1 import health_pb2, health_pb2_grpc

locks, health = stubs.LocksStub(connection), health_pb2_grpc.HealthStub(connection)


def acquire(name, wait_ms=0):
    return messages.AcquireRequest(name=name, wait_ms=wait_ms)


def stream():
    asked = queue.SimpleQueue()
    return asked, locks.Hold(iter(asked.get, None), timeout=PATIENCE)


def get_lock(name, wait_ms=0):
    return messages.HoldRequest(get_lock=messages.GetLock(name=name, wait_ms=wait_ms))


def release_lock(name):
    return messages.HoldRequest(release_lock=messages.ReleaseLock(name=name))


def waiters():
    return locks.Status(messages.StatusRequest(name="leased")).holds[0].waiters


# A connection from before the stop is served on.
kept = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=PATIENCE)
kept.request("GET", "/readyz")
assert kept.getresponse().read() == b"ok"

lease = locks.Acquire(acquire("leased"))
(holds, held), (idles, idle) = stream(), stream()
holds.put(get_lock("streamed"))
assert next(held).result == 1
waiting = locks.Acquire.future(acquire("leased", -1))
until(lambda: waiters() == 1)
holds.put(get_lock("leased", -1))
until(lambda: waiters() == 2)
changes = health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
assert next(changes).status == health_pb2.HealthCheckResponse.SERVING

print("stop", flush=True)

assert refused("UNAVAILABLE", waiting.result, PATIENCE)
assert next(held).refusal.symbol == "SHUTDOWN", "the wait is over, the stream is not"
assert refused("UNAVAILABLE", next, idle), "it holds nothing"
assert refused("UNAVAILABLE", locks.Acquire, acquire("more"))
holds.put(get_lock("more"))
assert next(held).refusal.symbol == "SHUTDOWN"
kept.request("GET", "/readyz")
assert kept.getresponse().status == 503
assert next(changes).status == health_pb2.HealthCheckResponse.NOT_SERVING
renewed = locks.Renew(messages.RenewRequest(name="leased", lease_token=lease.lease_token))
assert renewed.fencing_token == lease.fencing_token, "leases go on"
locks.Release(messages.ReleaseRequest(name="leased", lease_token=lease.lease_token))
holds.put(release_lock("streamed"))
assert next(held).result == 1
assert refused("UNAVAILABLE", next, held)
