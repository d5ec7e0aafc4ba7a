"""Waelson's clients: all parameters in the query, times as Go writes them."""
import time
import uuid

from steps import Line, call, call_json, held_elsewhere, until_free, with_query


def ask(path, method="POST", **query):
    code, reply = call_json(method, with_query(f"/waelson/{path}", **query))
    assert reply.get("code", code) == code
    return code, reply


def lock(resource, ttl="10s"):
    code, reply = ask("lock", resource=resource, ttl=ttl)
    assert code == 200, reply
    return reply["token"]


GONE = (404, {"error": "lock not found or expired"})


def a_lock_from_its_first_to_its_last():
    code, reply = ask("lock", resource="order:1", ttl="10s")
    token = reply["token"]
    assert str(uuid.UUID(token)) == token
    assert (code, reply) == (
        200, {"code": 200, "token": token, "resource": "order:1", "ttl": "10s", "acquired": True},
    )
    busy = {"code": 409, "resource": "order:1", "acquired": False, "message": "lock already acquired"}
    assert ask("lock", resource="order:1", ttl="10s") == (409, busy)
    assert held_elsewhere("order:1")
    assert ask("refresh", resource="order:1", token=token, ttl="1m30s") == (
        200, {"code": 200, "token": token, "resource": "order:1", "ttl": "1m30s", "refreshed": True},
    )
    code, left = ask("ttl", "GET", resource="order:1", token=token)
    assert code == 200 and left.pop("ttl").startswith("1m2"), left
    assert left == {"code": 200, "resource": "order:1", "token": token}
    done = {"code": 200, "token": token, "resource": "order:1"}
    assert ask("unlock", resource="order:1", token=token) == (200, done)
    assert not held_elsewhere("order:1")
    assert ask("unlock", resource="order:1", token=token) == GONE


def with_a_token_of_somebody_else():
    token, other = lock("mine"), lock("yours")
    for wrong in other, str(uuid.uuid4()), "nonsense", "":
        assert ask("unlock", resource="mine", token=wrong) == GONE
        assert ask("refresh", resource="mine", token=wrong, ttl="10s") == GONE
        gone = {"code": 404, "resource": "mine", "token": wrong, "ttl": "0s"}
        assert ask("ttl", "GET", resource="mine", token=wrong) == (404, gone)
    assert held_elsewhere("mine")
    assert ask("unlock", resource="mine", token=token)[0] == 200
    assert ask("unlock", resource="yours", token=other)[0] == 200


def a_lock_ends_at_its_time():
    line, since = Line(), time.monotonic()
    token = lock("brief", "300ms")
    assert line.ask("GET_LOCK brief 20") == "1" and 0.29 < time.monotonic() - since < 10
    assert ask("refresh", resource="brief", token=token, ttl="10s") == GONE, "it does not come back"
    assert ask("unlock", resource="brief", token=token) == GONE
    assert line.ask("RELEASE_LOCK brief") == "1"
    assert ask("ttl", "GET", resource="brief", token=token)[1]["ttl"] == "0s"


def without_a_time_it_is_10_ms():
    code, reply = ask("lock", resource="default")
    assert code == 200 and reply["ttl"] == "10ms"
    until_free("default")
    assert ask("unlock", resource="default", token=reply["token"]) == GONE


def a_refresh_counts_from_now():
    line, token = Line(), lock("short", "60s")
    assert ask("refresh", resource="short", token=token, ttl="100ms")[1]["ttl"] == "100ms"
    assert line.ask("GET_LOCK short 20") == "1"
    line.ask("QUIT")


def what_makes_no_sense():
    for query in {}, {"resource": ""}, {"resource": "n" * 65}:
        code, reply = ask("lock", ttl="1s", **query)
        assert code == 400 and list(reply) == ["error"]
    token = lock("kept")
    for ttl in "", "5", "soon", "-1s", "0s", "1ns", "745h":
        for path in "lock", "refresh":
            code, reply = ask(path, resource="kept", token=token, ttl=ttl)
            assert code == 400 and list(reply) == ["error"], (path, ttl)
    for path, method in ("lock", "GET"), ("unlock", "GET"), ("refresh", "PUT"), ("ttl", "POST"):
        assert call(method, f"/waelson/{path}?resource=kept&token={token}")[0] == 405
    assert ask("unlock", resource="kept", token=token)[0] == 200


a_lock_from_its_first_to_its_last()
with_a_token_of_somebody_else()
a_lock_ends_at_its_time()
without_a_time_it_is_10_ms()
a_refresh_counts_from_now()
what_makes_no_sense()
