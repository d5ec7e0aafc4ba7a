"""The models that datamodel-code-generator makes of /openapi.json fit what the server takes and answers.

Exit code 77: the generator is not installed."""
import importlib
import pathlib
import sys
import tempfile

from generated import document, run
from steps import NOT_INSTALLED, call, held_elsewhere

try:
    import datamodel_code_generator  # noqa: F401
except ImportError:
    sys.exit(NOT_INSTALLED)

folder = tempfile.TemporaryDirectory()
place = pathlib.Path(folder.name)
run(
    [sys.executable, "-m", "datamodel_code_generator", "--input", document(place)]
    + ["--input-file-type", "openapi", "--output", place / "generated_models.py"]
    + ["--output-model-type", "pydantic_v2.BaseModel", "--use-annotated", "--formatters", "builtin"]
)
sys.path.insert(0, folder.name)
models = importlib.import_module("generated_models")


def post(path, body, answer):
    """Sends a model; the answer must be one of this kind."""
    _, text = call("POST", f"/api/lock/{path}", body.model_dump_json(exclude_none=True))
    return answer.model_validate_json(text)


taken = post("acquire", models.Acquire(resourceName="nightly", clientId="web-1", ttlMs=60_000), models.Acquired)
assert held_elsewhere("nightly")
busy = post("acquire", models.Acquire(resourceName="nightly", waitMs=20), models.NotAcquired)
assert busy.status.value == "Busy"
mine = {"resourceName": "nightly", "lockToken": taken.lockToken}
renewed = post("heartbeat", models.Heartbeat(**mine, ttlMs=120_000), models.Renewed)
assert renewed.expiresAt > taken.expiresAt
for path, answer, rows in (
    ("/api/lock/status/nightly", models.Status, None),
    ("/api/locks", models.Locks, "locks"),
    ("/api/lock/waiters/nightly", models.WaiterList, "waiters"),
    ("/api/lock/why/nightly", models.Why, "steps"),
    ("/api/sessions", models.Sessions, "sessions"),
    ("/api/stats", models.Stats, None),
):
    read = answer.model_validate_json(call("GET", path)[1])
    assert rows != "locks" or read.locks[0].client == "web-1"
post("release", models.Release(**mine), models.Released)
assert not held_elsewhere("nightly")
post("release", models.Release(**mine), models.NotFound)
