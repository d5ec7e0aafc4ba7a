"""The clients of Ashutosh's DistributedLocking, which POST JSON below /api/lock; and all interfaces on one name."""
import datetime
import http.client
import json
import re

from steps import HTTP_PORT, PATIENCE, Line, call, call_json, held_elsewhere, threads, until_waiting, with_query


def post(function, **body):
    return call_json("POST", f"/api/lock/{function}", body)


def acquire(name, **more):
    code, reply = post("acquire", resourceName=name, clientId="web-1", **more)
    assert (code, reply["success"], reply["status"]) == (200, True, "Acquired"), reply
    assert re.fullmatch("[0-9a-f]{32}", reply["lockToken"]) and reply["message"]
    return reply["lockToken"]


def fails(code, status, function, **body):
    got, reply = post(function, **body)
    assert (got, reply["success"], reply["status"]) == (code, False, status), reply
    assert reply["message"] and not reply.get("lockToken")


def release(name, token):
    code, reply = post("release", resourceName=name, lockToken=token)
    assert (code, reply["success"], reply["status"]) == (200, True, "Released"), reply


def status(name):
    code, reply = call_json("GET", f"/api/lock/status/{name}")
    assert code == 200 and reply.pop("resourceName") == name
    return reply


def age(moment):
    at = datetime.datetime.fromisoformat(moment)
    return (datetime.datetime.now(datetime.timezone.utc) - at).total_seconds()


def a_lock_from_its_first_to_its_last():
    assert status("nightly") == {"isLocked": False}
    token = acquire("nightly")
    fails(409, "Busy", "acquire", resourceName="nightly", clientId="web-1")
    assert held_elsewhere("nightly")
    shown = status("nightly")
    assert shown["isLocked"] is True and shown["clientId"] == "web-1" and token not in str(shown)
    assert -1 < age(shown["acquiredAt"]) < 10 and -46 < age(shown["expiresAt"]) < -30
    code, beat = post("heartbeat", resourceName="nightly", lockToken=token)
    assert (code, beat["success"], beat["status"]) == (200, True, "HeartbeatReceived")
    assert beat["lockToken"] == token and beat["message"]
    after = status("nightly")
    assert after["acquiredAt"][:-5] <= after["lastHeartbeat"] and -1 < age(after["lastHeartbeat"]) < 10
    release("nightly", token)
    assert status("nightly") == {"isLocked": False}


def with_a_wrong_token():
    token, other = acquire("mine"), acquire("yours")
    for function in "heartbeat", "release":
        fails(409, "InvalidToken", function, resourceName="mine", lockToken=other)
        fails(409, "InvalidToken", function, resourceName="mine", lockToken="0" * 32)
        fails(404, "NotFound", function, resourceName="nobody's", lockToken=token)
        fails(400, "BadRequest", function, resourceName="", lockToken=token)
        fails(400, "BadRequest", function, resourceName="mine", lockToken="")
        fails(400, "BadRequest", function, resourceName="mine")
        fails(400, "BadRequest", function, lockToken=token)
    release("mine", token), release("yours", other)
    fails(404, "NotFound", "release", resourceName="mine", lockToken=token)


def what_makes_no_sense():
    fails(400, "BadRequest", "acquire", clientId="web-1")
    for name in "", "n" * 65:
        fails(400, "BadRequest", "acquire", resourceName=name, clientId="web-1")
    for body in b"", b"{", b"[]", b"\xff":
        code, reply = call_json("POST", "/api/lock/acquire", body)
        assert code == 400 and reply["status"] == "BadRequest"
    assert call_json("POST", "/api/lock/acquire", b" " * 16_385)[0] == 413
    assert call("GET", "/api/lock/acquire")[0] == 405 and call("GET", "/api/lock")[0] == 404


def a_heartbeat_does_not_revive():
    line, token = Line(), acquire("brief", ttlMs=200)
    assert line.ask("GET_LOCK brief 20") == "1"
    fails(409, "InvalidToken", "heartbeat", resourceName="brief", lockToken=token)
    assert line.ask("RELEASE_LOCK brief") == "1"
    fails(404, "NotFound", "heartbeat", resourceName="brief", lockToken=token)
    assert status("brief") == {"isLocked": False}


def who_hangs_up_while_it_waits_leaves_the_queue():
    token = acquire("left")
    connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=PATIENCE)
    wanted = {"resourceName": "left", "clientId": "web-2", "waitMs": -1}
    connection.request("POST", "/api/lock/acquire", json.dumps(wanted))
    until_waiting("left", 1)
    connection.close()
    until_waiting("left", 0)
    release("left", token)
    assert status("left") == {"isLocked": False}


def all_interfaces_wait_in_one_queue():
    sharelock = {"X-Client-Id": "a"}
    tries = {
        "locking": lambda: post("acquire", resourceName="one", clientId="x")[0] == 200,
        "word": lambda: call("GET", "/getLock/one")[1] != "false",
        "netlocker": lambda: call("GET", "/netlocker/lock?key=one&unique_id=x&time_lock=60")[1] == "true",
        "sharelock": lambda: call_json("POST", "/sharelock/lock", {"key": "one"}, sharelock)[1]["status"] == 1,
        "waelson": lambda: call("POST", "/waelson/lock?resource=one&ttl=60s")[0] == 200,
        "lockmanager": lambda: call("GET", "/lockmanager/getLock/one")[1] != "false",
        "doubledutch": lambda: call_json("GET", "/lockmanager/getlock?auth=k&lockname=one")[1]["lockacquired"],
        "line": lambda: not held_elsewhere("one"),
    }
    line = Line()
    for holder, take in tries.items():
        if holder == "line":
            assert line.ask("GET_LOCK one 0") == "1"
        else:
            assert take(), holder
        # Of NetLocker's clients the owner is told that it has it already.
        owner = ["netlocker"] if holder == "netlocker" else []
        assert [name for name, take in tries.items() if take()] == owner
        if holder != "line":
            assert line.ask(f"KILL {status('one')['session']}") == "1"
    wanted = {"key": "one", "timeoutMs": 20_000}
    waits = [
        lambda: post("acquire", resourceName="one", clientId="x", waitMs=20_000)[0] == 200,
        lambda: call_json("POST", "/sharelock/lock", wanted, sharelock)[1]["status"] == 1,
        lambda: call("GET", "/lockmanager/getLock/20/one/60")[1] != "false",
        lambda: call("GET", with_query("/getLock/one", wait="20s"))[1] != "false",
    ]
    for n, wait in enumerate(waits):
        waits[n] = threads.submit(wait)
        until_waiting("one", n + 1)
    assert line.ask("RELEASE_LOCK one") == "1"
    for n, wait in enumerate(waits):
        assert wait.result(PATIENCE) and not any(later.done() for later in waits[n + 1:])
        assert line.ask(f"KILL {status('one')['session']}") == "1"


a_lock_from_its_first_to_its_last()
with_a_wrong_token()
what_makes_no_sense()
a_heartbeat_does_not_revive()
who_hangs_up_while_it_waits_leaves_the_queue()
all_interfaces_wait_in_one_queue()
