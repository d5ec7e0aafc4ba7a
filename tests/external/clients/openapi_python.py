"""The client that openapi-python-client makes of /openapi.json takes, renews and releases a lease.

Exit code 77: the generator is not installed."""
import importlib
import pathlib
import sys
import tempfile

from generated import document, run
from steps import HTTP_PORT, NOT_INSTALLED, held_elsewhere

try:
    import openapi_python_client  # noqa: F401
except ImportError:
    sys.exit(NOT_INSTALLED)

folder = tempfile.TemporaryDirectory()
place = pathlib.Path(folder.name)
# Without formatters, which are other programs.
(place / "config.yaml").write_text("post_hooks: []\n")
run(
    [sys.executable, "-m", "openapi_python_client", "generate", "--path", document(place), "--meta", "none"]
    + ["--config", place / "config.yaml", "--output-path", place / "generated_locks", "--fail-on-warning"]
)
sys.path.insert(0, folder.name)


def part(name):
    return importlib.import_module(f"generated_locks.{name}")


models = part("models")
client = part("client").Client(base_url=f"http://127.0.0.1:{HTTP_PORT}")


def call(function, body=None, **named):
    named |= {"body": body} if body else {}
    return part(f"api.{function}").sync(client=client, **named)


wish = models.Acquire(resource_name="nightly", note="backup", request_id="0f8a2e6d105e4c1c9b7d")
taken = call("leases.acquire", wish)
assert isinstance(taken, models.Acquired) and held_elsewhere("nightly")
assert call("leases.acquire", wish).lock_token == taken.lock_token, "it is the same request"

busy = call("leases.acquire", models.Acquire(resource_name="nightly", mode=models.Mode.SHARED))
assert isinstance(busy, models.NotAcquired) and busy.status == models.NotAcquiredStatus.BUSY
renewed = call("leases.heartbeat", models.Heartbeat("nightly", taken.lock_token, ttl_ms=60_000))
assert isinstance(renewed, models.Renewed) and renewed.expires_at > taken.expires_at
status = call("lists.status", resource_name="nightly")
assert (status.is_locked, status.note, status.fencing_token) == (True, "backup", taken.fencing_token)
[lock] = call("lists.locks", limit=1).locks
assert (lock.name, lock.mode) == ("nightly", models.Mode.EXCLUSIVE)

# What is refused is told in a model too.
assert isinstance(call("leases.acquire", models.Acquire("nightly", ttl_ms=1)), models.BadRequest)
assert isinstance(call("lists.kill", id=4_000_000_000), models.NotFound)
mine = models.Release("nightly", taken.lock_token)
assert isinstance(call("leases.release", mine), models.Released) and not held_elsewhere("nightly")
assert isinstance(call("leases.release", mine), models.NotFound)

# Where there are users: as Basic and as Bearer.
part("client").AuthenticatedClient(base_url="http://127.0.0.1", token="token of web")
