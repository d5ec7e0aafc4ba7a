"""Sessions by gRPC, which live as long as their stream."""
import queue

from steps import PATIENCE, Line, channel, compiled, held_elsewhere, refused, until

messages, stubs, connection = compiled("getlockd.proto")
locks = stubs.LocksStub(connection)
line = Line()


class Stream:
    def __init__(self, by=locks):
        self.asked = queue.SimpleQueue()
        self.replies = by.Hold(iter(self.asked.get, None), timeout=PATIENCE)

    def send(self, **command):
        self.asked.put(messages.HoldRequest(**command))

    def reply(self):
        return next(self.replies)

    def ask(self, **command):
        self.send(**command)
        return self.reply()

    def get_lock(self, name, wait_ms=0, mode=0):
        return self.ask(get_lock=dict(name=name, wait_ms=wait_ms, mode=mode))

    def wait_for(self, name):
        self.send(get_lock=dict(name=name, wait_ms=-1))
        until(lambda: line.rows(f"WAITERS {name}"))

    def release(self, name):
        return result(self.ask(release_lock=dict(name=name)))

    def close(self):
        self.asked.put(None)


def result(response):
    assert not response.HasField("refusal"), response
    return response.result if response.HasField("result") else None


def holds(name):
    return locks.Status(messages.StatusRequest(name=name)).holds


def is_free(name):
    return not holds(name)


def a_session():
    stream = Stream()
    assert result(stream.ask(introduce=dict(client="web-1", note="backup"))) == 1
    got = stream.get_lock("nightly")
    assert result(got) == 1 and got.fencing_token > 0
    assert stream.get_lock("nightly").fencing_token == got.fencing_token, "taken again"
    [hold] = holds("nightly")
    assert (hold.client, hold.note, hold.wire) == ("web-1", "backup", "grpc")
    assert hold.fencing_token == got.fencing_token and not hold.HasField("expires_at_ms")
    other = Stream()
    busy = other.get_lock("nightly")
    assert result(busy) == 0 and not busy.HasField("fencing_token")
    assert stream.release("nightly") == 1 and held_elsewhere("nightly")
    assert other.release("nightly") == 0, "held by another"
    assert stream.release("nightly") == 1 and not held_elsewhere("nightly")
    assert stream.release("nightly") is None, "held by nobody"
    assert result(other.get_lock("nightly")) == 1
    late = stream.get_lock("nightly", wait_ms=150)
    assert result(late) == 0 and late.waited_ms >= 150
    assert [result(stream.get_lock(name)) for name in ("a", "b", "b")] == [1, 1, 1]
    assert result(stream.ask(release_all_locks={})) == 3 and is_free("a") and is_free("b")
    other.close()
    until(lambda: is_free("nightly"))
    stream.close()
    assert list(stream.replies) == []


def shared_by_streams():
    one, two, three = Stream(), Stream(), Stream()
    assert result(one.get_lock("read", mode=messages.SHARED)) == 1
    assert result(two.get_lock("read", mode=messages.SHARED)) == 1
    assert result(three.get_lock("read")) == 0
    three.wait_for("read")
    assert one.release("read") == 1 and holds("read")[0].waiters == 1
    assert two.release("read") == 1
    granted = three.reply()
    assert result(granted) == 1 and holds("read")[0].mode == messages.EXCLUSIVE
    for stream in one, two, three:
        stream.close()


def requests_sent_ahead_are_answered_in_order():
    holder, stream = Stream(), Stream()
    assert result(holder.get_lock("ahead")) == 1
    stream.wait_for("ahead")
    for n in range(500):
        stream.send(get_lock=dict(name=f"ahead:{n % 2}"))
        stream.send(release_lock=dict(name=f"ahead:{n % 2}"))
    stream.send(release_lock=dict(name="nobody's"))
    stream.send(release_all_locks={})
    assert not list(locks.List(messages.ListRequest(prefix="ahead:")).locks)
    assert holder.release("ahead") == 1
    assert [result(stream.reply()) for _ in range(1_003)] == [1] * 1_001 + [None, 1]
    holder.close(), stream.close()


def what_is_refused_ends_nothing():
    stream = Stream()
    assert result(stream.get_lock("kept")) == 1
    for name in "", "n" * 65, "nul\0":
        for command in dict(get_lock=dict(name=name)), dict(release_lock=dict(name=name)):
            response = stream.ask(**command)
            assert "NAME" in response.refusal.symbol and "name" in response.refusal.message
            assert not response.HasField("result")
    assert stream.ask(introduce=dict(client="o" * 257)).refusal.symbol == "LIMIT"
    assert stream.ask().refusal.symbol.startswith("UNKNOWN"), "no command at all"
    assert held_elsewhere("kept") and stream.release("kept") == 1
    stream.close()


def a_cycle_is_refused_and_named():
    one, two = Stream(), Stream()
    assert result(one.get_lock("x")) == result(two.get_lock("y")) == 1
    ids = [holds(name)[0].session for name in ("x", "y")]
    one.wait_for("y")
    refusal = two.get_lock("x", wait_ms=-1).refusal
    assert refusal.symbol == "DEADLOCK"
    assert f"{ids[1]} waits for x (held by {ids[0]}), {ids[0]} waits for y (held by {ids[1]})" in refusal.message
    assert result(two.get_lock("x")) == 0, "to try is never refused so"
    assert two.release("y") == 1
    assert result(one.reply()) == 1
    one.close(), two.close()


def kill_ends_a_wait_or_a_stream():
    holder, stream = Stream(), Stream()
    assert result(holder.get_lock("wanted")) == result(stream.get_lock("mine")) == 1
    stream.wait_for("wanted")
    number = holds("mine")[0].session
    assert line.ask(f"KILL QUERY {number}") == "1"
    assert stream.reply().refusal.symbol == "INTERRUPTED" and not is_free("mine")
    assert line.ask(f"KILL {number}") == "1" and is_free("mine")
    assert "killed" in refused("ABORTED", stream.reply).lower()
    holder.close()


def a_stream_that_ends_frees_all_at_once():
    waiter = Stream()
    for end in "close", "cancel", "drop the connection", "close with a wait":
        by = channel()
        stream = Stream(stubs.LocksStub(by))
        assert [result(stream.get_lock(name)) for name in ("end:a", "end:b")] == [1, 1]
        waiter.wait_for("end:a")
        if end == "close":
            stream.close()
        elif end == "cancel":
            stream.replies.cancel()
        elif end == "drop the connection":
            by.close()
        else:
            line.ask("GET_LOCK taken 0")
            stream.wait_for("taken")
            stream.close()
            until(lambda: not line.rows("WAITERS taken"))
        granted = waiter.reply()
        assert result(granted) == 1 and granted.waited_ms < 5_000
        until(lambda: is_free("end:b"))
        assert waiter.release("end:a") == 1
    waiter.close()


a_session()
shared_by_streams()
requests_sent_ahead_are_answered_in_order()
what_is_refused_ends_nothing()
a_cycle_is_refused_and_named()
kill_ends_a_wait_or_a_stream()
a_stream_that_ends_frees_all_at_once()
