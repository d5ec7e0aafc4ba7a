"""What every driver does, step by step; tests/external/drivers.rs watches from another wire.

A step says a word on stdout and waits for a line on stdin."""
import os
import sys


def say(word):
    print(word, flush=True)
    sys.stdin.readline()


def steps(ask):
    """`ask(sql, args)` is the first value of the first row."""
    assert ask("SELECT GET_LOCK('nightly', 10)", ()) == 1
    say("held")
    assert ask("SELECT RELEASE_LOCK('nightly')", ()) == 1
    say("released")
    assert ask("SELECT GET_LOCK(%s, %s)", ("nightly", 0)) == 0
    say("refused")
    assert ask("SELECT GET_LOCK(%s, %s)", ("nightly", 10.5)) == 1
    assert ask("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", ("nightly",)) == 1
    say("again")
    os._exit(0)  # without a goodbye


def ask_by_cursor(connection):
    """What `steps` needs, of a connection as the Python database API has it."""

    def ask(sql, args):
        with connection.cursor() as cursor:
            cursor.execute(sql, args or None)
            return cursor.fetchone()[0]

    return ask


def connection_arguments():
    return {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "root", "password": os.environ["PASSWORD"], "database": "test"}
