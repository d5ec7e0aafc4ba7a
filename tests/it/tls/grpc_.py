"""gRPC by TLS: a lease, and a Hold stream whose end frees its lock. Arguments: port, certificate."""
import importlib
import pathlib
import queue
import sys
import tempfile

try:
    import grpc
    from grpc_tools import protoc
except ImportError:
    sys.exit(77)

PROTO = pathlib.Path(__file__).parents[3] / "proto"

with tempfile.TemporaryDirectory() as folder:
    out = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(["protoc", f"-I{PROTO}", *out, "getlockd.proto"]) == 0
    sys.path.insert(0, folder)
    messages, stubs = (importlib.import_module("getlockd" + end) for end in ("_pb2", "_pb2_grpc"))

credentials = grpc.ssl_channel_credentials(pathlib.Path(sys.argv[2]).read_bytes())
with grpc.secure_channel(f"localhost:{sys.argv[1]}", credentials) as channel:
    locks = stubs.LocksStub(channel)
    lease = locks.Acquire(messages.AcquireRequest(name="by lease"), timeout=20)
    assert lease.lease_token, lease
    requests = queue.Queue()
    replies = locks.Hold(iter(requests.get, None), timeout=20)
    requests.put(messages.HoldRequest(get_lock=messages.GetLock(name="by stream")))
    assert next(replies).result == 1
    requests.put(None)
    assert not list(replies)
    assert locks.Acquire(messages.AcquireRequest(name="by stream"), timeout=20).lease_token
