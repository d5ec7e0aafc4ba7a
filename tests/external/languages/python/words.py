"""What the stories share: commands on stdin, answers on stdout."""
import os
import ssl
import sys


def words(lines=sys.stdin):
    """Each line as a command, a timeout and a name, in which ␤ is a line feed."""
    for line in lines:
        verb, _, rest = line.rstrip("\n").partition(" ")
        timeout, _, name = rest.partition(" ")
        yield verb, timeout, name.replace("␤", "\n")


def say(text):
    print(text, flush=True)


def options():
    ca, user = os.environ.get("GETLOCK_CA"), os.environ.get("GETLOCK_USER")
    tls = ssl.create_default_context(cafile=ca) if ca else None
    host = os.environ.get("GETLOCK_HOST", "127.0.0.1")
    return dict(host=host, port=int(sys.argv[1]), user=user, password=os.environ.get("GETLOCK_PASSWORD", ""), tls=tls)
