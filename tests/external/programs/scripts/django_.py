import os
import sys

try:
    import django
    from django.conf import settings
    from django_mysql.locks import Lock
except ImportError:
    sys.exit(77)
from steps import connection_arguments, say

arguments = connection_arguments()
# MySQL 8.4 lets only those set innodb_strict_mode who have SESSION_VARIABLES_ADMIN: who logs in by a password here has not.
strict = "" if arguments["password"] else ", innodb_strict_mode=1"
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_mysql"],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.mysql", "HOST": arguments["host"], "PORT": arguments["port"],
        "USER": arguments["user"], "PASSWORD": arguments["password"], "NAME": arguments["database"],
        "OPTIONS": {
            "init_command": "SET sql_mode='STRICT_TRANS_TABLES'" + strict,
            "isolation_level": "read committed",
            "charset": "utf8mb4",
        },
    }},
    LOGGING_CONFIG=None,
    USE_TZ=True,
)
django.setup()
from django.core.management import call_command
from django.db import connection, transaction
from django_mysql.exceptions import TimeoutError

call_command("check", databases=["default"], stdout=open(os.devnull, "w"))
call_command("inspectdb", stdout=open(os.devnull, "w"))
call_command("showmigrations", stdout=open(os.devnull, "w"))
assert connection.introspection.table_names() == []
with transaction.atomic(), transaction.atomic(), connection.cursor() as cursor:
    cursor.execute("SELECT @@sql_mode, @@innodb_strict_mode")
    assert cursor.fetchone() == ("STRICT_TRANS_TABLES", 1)
# By django-mysql, which prefixes the name with that of the database.
lock = Lock("nightly", acquire_timeout=10)
lock.name = "nightly"
with lock:
    assert lock.is_held() and lock.holding_connection_id() == connection.connection.thread_id()
    say("held")
say("released")
try:
    lock.acquire_timeout = 0
    lock.acquire()
    raise AssertionError("the lock was not held by others")
except TimeoutError:
    say("refused")
lock.acquire_timeout = 10
lock.acquire()
say("again")
os._exit(0)  # without a goodbye
