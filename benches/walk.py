#!/usr/bin/env python3
"""The functions that one request passes, from the socket to the reply, and the files they stand in.

    benches/walk.py line            GET_LOCK on an open connection of the line protocol
    benches/walk.py mysql           SELECT GET_LOCK('nightly', 10) as a query
    benches/walk.py http            POST /api/lock/acquire on an open connection
    benches/walk.py line --connect  the same, with the start of the connection and the login

The server is built without optimisation, so that the compiler inlines nothing, and runs under valgrind's
callgrind, which is switched on for that request alone. benches/README.md says what is counted and what is not.
"""

import argparse
import pathlib
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Code that the compiler derives, or that converts, compares, formats or frees a value, and the check of the lock order, which
# release builds leave out: it is not read on the way.
GLUE = re.compile(
    r"""\bas\ (core|alloc|std)::(
        fmt::\w+ | clone::Clone | ops::drop::Drop | cmp::\w+ | hash::Hash | default::Default
        | convert::\w+ | borrow::\w+ | ops::deref::\w+ | ops::index::\w+ | string::\w+ | iter::traits::\w+::\w+
    )(<.*>)?>::\w+$ | ^core::ptr::drop_in_place
    | ::[A-Z]\w*[a-z]\w*$ | ::sync::guarded:: | serde_core:: | serde:: | \bas\ tracing | __CALLSITE | ::_::""",
    re.VERBOSE,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("wire", choices=WIRES)
    parser.add_argument("--connect", action="store_true", help="count the start of the connection as well")
    parser.add_argument("--all", action="store_true", help="count conversions, formatting and getters as well")
    parser.add_argument("--server", help="a getlockd to run instead of the one that is built")
    args = parser.parse_args()
    server = args.server or build()
    with tempfile.TemporaryDirectory() as folder:
        dumps = record(server, args.wire, args.connect, pathlib.Path(folder))
    report([Graph(dump) for dump in dumps], args)


def build():
    run = ["cargo", "build", "--locked", "--bin", "getlockd", "--message-format=json-render-diagnostics"]
    output = subprocess.run(run, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return re.findall(r'"executable":"([^"]+/getlockd)"', output)[-1]


# --- one request under callgrind


def record(server, wire, connect, folder):
    """The text of callgrind's dumps: of the connection's start if that is wanted, and of one request."""
    file, log = folder / "callgrind.out", (folder / "log").open("w+")
    flags = ["--workers", "1"]
    for other in WIRES:
        flags += [f"--{other}", "127.0.0.1:0" if other == wire else "off"]
    # By their symbols two functions of one name stay apart.
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--demangle=no"]
    process = subprocess.Popen([*valgrind, f"--callgrind-out-file={file}", server, *flags], stdout=log, stderr=log)

    def counted(act):
        asleep(process.pid)
        callgrind("-i", "on", process.pid)
        result = act()
        asleep(process.pid)
        callgrind("-i", "off", process.pid)
        callgrind("-d", "one", process.pid)
        return result

    try:
        port = listening_on(process, pathlib.Path(log.name), wire)
        open_connection, request = WIRES[wire]
        # What is made once, by the first who needs it, is no part of the walk.
        warm = open_connection(port)
        request(warm, "warm")
        if connect:
            connection = counted(lambda: open_connection(port))
        else:
            connection = open_connection(port)
            request(connection, "before")
        counted(lambda: request(connection, "nightly"))
    finally:
        process.terminate()
        process.wait()
    dumps = sorted(folder.glob("callgrind.out.*"), key=lambda dump: int(dump.suffix[1:]))
    return [dump.read_text() for dump in dumps]


def listening_on(process, log, wire):
    for _ in range(600):
        found = re.search(rf"\b{wire}\b.*?127\.0\.0\.1:(\d+)", log.read_text().split("Command:")[-1].partition("\n")[2])
        if found:
            return int(found[1])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"the server did not start:\n{log.read_text()}")


def callgrind(option, value, pid):
    subprocess.run(["callgrind_control", f"{option}", value, str(pid)], check=True, capture_output=True)


def asleep(pid):
    """Until no thread of the server has run for a while."""
    before = None
    while (now := cpu(pid)) != before:
        before = now
        time.sleep(0.3)


def cpu(pid):
    return [stat.read_text().rsplit(")", 1)[1].split()[11:13] for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]


def connected(port):
    stream = socket.create_connection(("127.0.0.1", port), timeout=60)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def ask(stream, request, end):
    stream.sendall(request)
    reply = b""
    while not end(reply):
        more = stream.recv(4096)
        if not more:
            sys.exit(f"the server closed the connection after {reply}")
        reply += more
    return reply


def line_request(stream, name):
    reply = ask(stream, f"GET_LOCK {name} 10\n".encode(), lambda reply: reply.endswith(b"\n"))
    assert reply.startswith(b"1"), reply


def http_request(stream, name):
    body = f'{{"resourceName":"{name}","ttlMs":60000}}'
    head = "POST /api/lock/acquire HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    reply = ask(stream, request, lambda reply: reply.endswith(b"}"))
    assert b" 200 " in reply, reply


def mysql_open(port):
    """A connection that has logged in as a user without a password."""
    stream = connected(port)
    mysql_packets(stream, 1)
    # PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, and no CLIENT_DEPRECATE_EOF.
    login = struct.pack("<IIB23x", 0x0008_8200, 1 << 24, 45) + b"walk\0\0mysql_native_password\0"
    stream.sendall(struct.pack("<I", len(login) | 1 << 24) + login)
    answer = mysql_packets(stream, 1)
    if answer[0][0] == 0xFE:
        stream.sendall(b"\0\0\0\x03")  # another method of login: no password there either
        answer = mysql_packets(stream, 1)
    assert answer[0][0] == 0, answer
    return stream


def mysql_request(stream, name):
    query = f"\x03SELECT GET_LOCK('{name}', 10)".encode()
    stream.sendall(struct.pack("<I", len(query)) + query)
    # The number of columns, the column, the end of columns, the row, the end of rows.
    packets = mysql_packets(stream, 5)
    assert packets[3] == b"\x011", packets


def mysql_packets(stream, count):
    packets, file = [], stream.makefile("rb")
    for _ in range(count):
        length = int.from_bytes(file.read(4)[:3], "little")
        packets.append(file.read(length))
    return packets


WIRES = {
    "line": (connected, line_request),
    "mysql": (mysql_open, mysql_request),
    "http": (connected, http_request),
}


# --- what was called


class Graph:
    """Who called whom, at which line: callgrind's dump."""

    def __init__(self, text):
        self.files, self.calls, self.lines = {}, {}, {}
        names, sure = {"fn": {}, "fl": {}}, {}
        function = file = called = called_file = None
        position, calls = 0, False

        def named(kind, value):
            found = re.match(r"\((\d+)\)(?: (.*))?$", value)
            if found[2] is not None:
                names[kind][found[1]] = found[2]
            return names[kind][found[1]]

        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key in ("fl", "fi", "fe"):
                file = named("fl", value)
            elif key in ("cfi", "cfl"):
                called_file = named("fl", value)
            elif key == "fn":
                function = re.sub(r"'\d+$", "", named("fn", value))
                called_file = file
                sure.setdefault(function, file)
            elif key == "cfn":
                called = re.sub(r"'\d+$", "", named("fn", value))
                self.files.setdefault(called, called_file or file)
            elif key == "calls":
                calls = True
            elif re.match(r"[+\-*\d]", line):
                at = line.split()[0]
                position = position if at == "*" else position + int(at) if at[0] in "+-" else int(at)
                if file == sure[function]:
                    self.lines[function] = min(position, self.lines.get(function, position))
                if calls:
                    # A call from inlined code has the line of another file: order it last.
                    place = position if file == sure[function] else 1 << 30
                    self.calls.setdefault(function, {}).setdefault(called, place)
                    calls, called_file = False, file
        self.files |= sure
        self.names = demangled(self.files)

    def own(self, raw):
        """The file of a function of this project, as a path from its root."""
        path = self.files.get(raw, "")
        # Else it is a library's, of which callgrind knows no file.
        if "getlock" not in raw:
            return None
        if path.startswith(f"{ROOT}/"):
            path = path[len(f"{ROOT}/") :]
        found = re.match(r"(src|crates/[\w-]+/src)/", path)
        return path if found else None


def demangled(symbols):
    symbols = sorted(symbols)
    names = subprocess.run(["c++filt"], input="\n".join(symbols), check=True, capture_output=True, text=True).stdout
    return dict(zip(symbols, names.split("\n")))


def canonical(raw):
    """A function's name without its hash, generics and closures: these belong to the function they stand in."""
    name = re.sub(r"::h[0-9a-f]{16}$", "", raw)
    return re.sub(r"::\{\{?(closure|shim)[^}]*\}\}?.*$", "", name)


def last(path):
    """The last word of a path, without generics."""
    return re.sub(r"<.*", "", path).rsplit("::", 1)[-1]


def short(name):
    """A name as it is shown."""
    found = re.match(r"<(.+?) as (.+?)>::(\w+)$", name)
    if found:
        kind, trait, method = found.groups()
        return f"{last(kind)}::{method} ({last(trait)})"
    found = re.match(r"(.+)::<impl (.+?)>::(\w+)$", name)
    if found:
        name = f"{found[1]}::{last(found[2])}::{found[3]}"
    return re.sub(r"^getlockd\w*::", "", name)


def walk(graph):
    """The project's functions in the order in which they are first met, each with its depth."""
    called = {callee for callees in graph.calls.values() for callee in callees}
    everything = set(graph.calls) | called
    roots = sorted(everything - called)
    seen, order = set(), {}
    sys.setrecursionlimit(1_000_000)

    def visit(raw, depth):
        if raw in seen:
            return
        seen.add(raw)
        name = canonical(graph.names[raw])
        if graph.own(raw):
            if name not in order:
                order[name] = (depth, raw)
            depth = order[name][0] + 1
        for callee in sorted(graph.calls.get(raw, {}), key=lambda callee: graph.calls[raw][callee]):
            visit(callee, depth)

    def reach(root):
        met, todo = set(), [root]
        while todo:
            raw = todo.pop()
            if raw not in met:
                met.add(raw)
                todo += graph.calls.get(raw, {})
        return sum(1 for raw in met if graph.own(raw))

    for root in sorted(roots, key=reach, reverse=True):
        visit(root, 0)
    for raw in sorted(everything - seen):
        visit(raw, 0)
    return order


def callees(graph, raw):
    """The project's functions that a function calls, itself or by a library's."""
    met, todo, own = set(), list(graph.calls.get(raw, {})), set()
    while todo:
        callee = todo.pop()
        if graph.own(callee):
            own.add(callee)
        elif callee not in met:
            met.add(callee)
            todo += graph.calls.get(callee, {})
    return own - {raw}


def is_glue(graph, raw):
    """Derived, converting or formatting code, or a function of one line that calls nothing else of the project."""
    if GLUE.search(canonical(graph.names[raw])):
        return True
    return is_short(graph, raw) and all(is_glue(graph, callee) for callee in callees(graph, raw))


def is_short(graph, raw):
    """Whether the function's body in the source is one line."""
    method = re.sub(r"<.*", "", canonical(graph.names[raw]).rsplit("::", 1)[-1])
    text = (ROOT / graph.own(raw)).read_text()
    start, line = None, graph.lines.get(raw, 0)
    for found in re.finditer(rf"\bfn {re.escape(method)}\b[^;{{]*\{{", text):
        if start is None or text.count("\n", 0, found.start()) < line:
            start = found.end()
    if start is None:
        return False
    end = re.search(r"\n( {4})?\}\n", text[start:])
    body = text[start : start + end.start()] if end else ""
    return "\n" not in body.strip() and ".await" not in body


def report(graphs, args):
    kept, left = {}, {}
    for graph in graphs:
        for name, (depth, raw) in walk(graph).items():
            (left if is_glue(graph, raw) and not args.all else kept).setdefault(name, (depth, graph.own(raw)))
    for name, (depth, file) in kept.items():
        print(f"{'  ' * min(depth, 20)}{short(name)}  {file}")
    files = [file for _, file in kept.values()]
    changes = sum(1 for one, two in zip(files, files[1:]) if one != two)
    what = f"{args.wire}{', with the connection' if args.connect else ''}"
    print(f"\n{what}: {len(kept)} functions in {len(set(files))} files, {changes} changes of file")
    if left:
        print(f"not counted, as conversions, formatting, drops and getters of one line: {len(left)}")
        for name, (_, file) in left.items():
            print(f"    {short(name)}  {file}")


if __name__ == "__main__":
    main()
