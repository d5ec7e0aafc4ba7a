"""A request is what borrows; the time for which its connection is kept is CONN_MAX_AGE, here as if it were given."""
import sys

try:
    import django
    from django.conf import settings
except ImportError:
    sys.exit(77)
from borrow import ADVISED, DATABASE, PORT, two_borrowers

settings.configure(DATABASES={"default": {
    "ENGINE": "django.db.backends.mysql", "HOST": "127.0.0.1", "PORT": PORT, "USER": "root", "NAME": DATABASE,
    "CONN_MAX_AGE": 0 if ADVISED else 600,
}})
django.setup()
from django.core.signals import request_finished, request_started
from django.db import connection


def ask(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchone()[0]


def borrow():
    request_started.send(None)
    return connection.cursor()


two_borrowers(borrow, ask, lambda _: request_finished.send(None))
