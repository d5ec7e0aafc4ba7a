"""The clients of LockManager, later DoubleDutch, in its ages: words at first, JSON in the end."""
import re
import time

from steps import Line, call, call_json, held_elsewhere, threads, until_waiting, with_query


def get(path):
    code, text = call("GET", f"/lockmanager/{path}")
    assert code == 200, (path, code, text)
    return text


def take(path):
    token = get(f"getLock/{path}")
    assert re.fullmatch("[0-9a-z]{32}", token), token
    return token


def later(method, path, **query):
    return call_json(method, with_query(f"/lockmanager/{path}", auth="key", **query))


def words():
    assert get("") == "Welcome to LockManager"
    token = take("nightly")
    assert get("getLock/nightly") == get("getLock/NIGHTLY") == "false" and held_elsewhere("nightly")
    assert get(f"releaseLock/nightly/{'0' * 32}") == get("releaseLock/nightly/guess") == "false"
    assert get(f"releaseLock/weekly/{token}") == "false"
    lines = get("status").split("\n\n")
    assert re.fullmatch(r"LOCK= nightly\nUSER_ID= \S+", lines[0]) and lines[1] == "" and token not in lines[0]
    assert get(f"releaseLock/nightly/{token}") == "released"
    assert get(f"releaseLock/nightly/{token}") == "false"
    assert get("status") == "" and not held_elsewhere("nightly")


def words_with_numbers():
    line, since = Line(), time.monotonic()
    token = take("brief/1")
    assert line.ask("GET_LOCK brief 20") == "1" and 0.9 < time.monotonic() - since < 10
    assert get(f"releaseLock/brief/{token}") == "false"
    since = time.monotonic()
    assert get("getLock/1/brief") == "false" and time.monotonic() - since >= 1, "waits for a second"
    assert get("getLock/0/brief/60") == "false"
    waits = []
    for n in range(3):
        waits.append(threads.submit(take, "20/brief" if n % 2 else "20/brief/60"))
        until_waiting("brief", n + 1)
    assert line.ask("RELEASE_LOCK brief") == "1"
    for n, wait in enumerate(waits):
        token = wait.result(5)
        assert not any(later.done() for later in waits[n + 1:]), "one after the other"
        assert get(f"releaseLock/brief/{token}") == "released"


def json():
    code, got = later("GET", "getlock", lockname="nightly", lifetime=60)
    token, server = got["sessiontoken"], got["servername"]
    assert code == 200 and len(token) == 32
    assert got == {"servername": server, "lockname": "nightly", "sessiontoken": token, "lockacquired": True}
    code, busy = later("GET", "getlock", lockname="nightly")
    assert code == 200 and busy["lockacquired"] is False and busy["lockname"] == "nightly"
    assert set(busy) == set(got) and busy["sessiontoken"] != token and held_elsewhere("nightly")
    code, status = later("GET", "status")
    [lock] = status.pop("locks")
    assert code == 200 and set(status) == {"servername", "status"}
    assert set(lock) == {"lockname", "sessiontoken", "remaining"} and lock["lockname"] == "nightly"
    assert 50 < lock["remaining"] <= 60 and lock["sessiontoken"] != token, "it is nobody else's"
    freed = {"servername": server, "lockname": "nightly", "lockreleased": True}
    kept = freed | {"lockreleased": False}
    assert later("DELETE", "releaselock", lockname="nightly", token="0" * 32) == (200, kept)
    assert later("DELETE", "releaselock", lockname="nightly", token=token) == (200, freed)
    assert later("DELETE", "releaselock", lockname="nightly", token=token) == (200, kept)
    assert later("GET", "status")[1]["locks"] == [] and not held_elsewhere("nightly")


def two_weeks():
    """As its own tests ask."""
    code, got = later("GET", "getlock", lockname="fortnight", lifetime=14 * 86_400)
    assert code == 200 and got["lockacquired"] is True
    assert later("DELETE", "releaselock", lockname="fortnight", token=got["sessiontoken"])[1]["lockreleased"]


def json_that_waits():
    token = take("slow/60")
    since = time.monotonic()
    assert not later("GET", "getlock", lockname="slow", timeout=1)[1]["lockacquired"]
    assert time.monotonic() - since >= 1
    wait = threads.submit(later, "GET", "getlock", lockname="slow", timeout=20)
    until_waiting("slow", 1)
    assert get(f"releaseLock/slow/{token}") == "released", "a token is one in every age"
    token = wait.result(5)[1]["sessiontoken"]
    assert 25 <= later("GET", "status")[1]["locks"][0]["remaining"] <= 30
    assert get(f"releaseLock/slow/{token}") == "released"


def what_makes_no_sense():
    for query in {}, {"lockname": ""}, {"lockname": "n" * 65}, {"lockname": "x", "timeout": "soon"}:
        code, reply = later("GET", "getlock", **query)
        assert code == 400 and list(reply) == ["error"], query
    for lifetime in 0, -1, 31 * 86_400 + 1, "long":
        code, reply = later("GET", "getlock", lockname="x", lifetime=lifetime)
        assert code == 400 and list(reply) == ["error"], lifetime
    assert call("GET", "/lockmanager/releaselock?lockname=x&token=y")[0] == 405
    assert call("POST", "/lockmanager/getLock/x")[0] == 405
    assert not held_elsewhere("x")


words()
words_with_numbers()
json()
two_weeks()
json_that_waits()
what_makes_no_sense()
