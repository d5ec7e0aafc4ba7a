"""What every script of a pool does: two borrowers of one connection, the first of which forgets its lock.

A step says a word on stdout and waits for a line on stdin; tests/external/programs/pools.rs watches from another wire.
The pool is as it is, or as docs/pools.md advises where the word `advised` is given."""
import sys

PORT, DATABASE = int(sys.argv[1]), sys.argv[2]
ADVISED = sys.argv[3] == "advised"
TAKE = "SELECT GET_LOCK('nightly', 0)"


def say(word):
    print(word, flush=True)
    sys.stdin.readline()


def two_borrowers(borrow, ask, give_back):
    first = borrow()
    assert ask(first, TAKE) == 1
    give_back(first)
    say("given back")
    second = borrow()
    say("lent again")
    say(ask(second, TAKE))
