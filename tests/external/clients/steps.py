"""What the scripts share: clients of HTTP, gRPC and the line wire, and a wait for what must come.

Arguments: the port of HTTP and gRPC, then that of the line wire."""
import atexit
import concurrent.futures
import http.client
import importlib
import json
import pathlib
import socket
import sys
import tempfile
import time
import urllib.parse

HTTP_PORT, LINE_PORT = int(sys.argv[1]), int(sys.argv[2])
PATIENCE = 20
NOT_INSTALLED = 77
PROTO = pathlib.Path(__file__).parents[3] / "proto"

threads = concurrent.futures.ThreadPoolExecutor(16)


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.002)


def call(method, path, body=None, headers=None):
    """The status and the text of a reply."""
    connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=PATIENCE)
    connection.request(method, path, body, headers or {})
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


def call_json(method, path, body=None, headers=None):
    """The status and the JSON of a reply."""
    body = body if body is None or isinstance(body, bytes) else json.dumps(body)
    status, text = call(method, path, body, {"Content-Type": "application/json"} | (headers or {}))
    return status, json.loads(text)


def with_query(path, **query):
    return f"{path}?{urllib.parse.urlencode(query)}"


def until_waiting(name, waiters):
    status = with_query("/api/locks", prefix=name)
    until(lambda: {lock["waiters"] for lock in call_json("GET", status)[1]["locks"]} == {waiters})


def until_free(name):
    until(lambda: not call_json("GET", f"/api/lock/status/{name}")[1]["isLocked"])


class Line:
    """A session of the line wire."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", LINE_PORT), PATIENCE)
        self.lines = self.socket.makefile("rw", newline="\n")

    def send(self, line):
        self.lines.write(line + "\n")
        self.lines.flush()

    def reply(self):
        return self.lines.readline().rstrip("\n")

    def ask(self, line):
        self.send(line)
        return self.reply()

    def rows(self, line):
        rows = [self.ask(line)]
        while not rows[-1].startswith("END "):
            rows.append(self.reply())
        return rows[:-1]


def held_elsewhere(name):
    """True if a session of the line wire cannot have the lock."""
    line = Line()
    taken = line.ask(f"GET_LOCK '{name}' 0")
    line.ask("QUIT")
    return taken == "0"


def compiled(proto):
    """The messages and the stubs of a file in proto/, and a channel."""
    try:
        import grpc
        import grpc_health.v1
        import grpc_reflection.v1alpha
        from grpc_tools import protoc
    except ImportError:
        sys.exit(NOT_INSTALLED)
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    out = [f"--python_out={folder.name}", f"--grpc_python_out={folder.name}"]
    assert protoc.main(["protoc", f"-I{PROTO}", *out, proto]) == 0
    sys.path.insert(0, folder.name)
    module = proto.removesuffix(".proto")
    messages, stubs = (importlib.import_module(module + end) for end in ("_pb2", "_pb2_grpc"))
    return messages, stubs, channel()


def channel():
    import grpc

    # A connection of its own: channels with the same options share one.
    return grpc.insecure_channel(f"127.0.0.1:{HTTP_PORT}", [("grpc.use_local_subchannel_pool", 1)])


def refused(code, function, *args, **named):
    """What the server says as it refuses a call with this gRPC status code."""
    import grpc

    try:
        function(*args, **named)
    except grpc.RpcError as error:
        assert error.code() is getattr(grpc.StatusCode, code), error
        return error.details()
    raise AssertionError(f"{code} was expected")
