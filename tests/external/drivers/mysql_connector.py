import os
import sys

try:
    import mysql.connector
except ImportError:
    sys.exit(77)
from steps import connection_arguments, steps

arguments = connection_arguments() | {"ssl_disabled": True}

# A pool frees a lock that its user forgot.
pool = mysql.connector.pooling.MySQLConnectionPool(pool_size=1, **arguments)
borrowed = pool.get_connection()
cursor = borrowed.cursor()
cursor.execute("SELECT GET_LOCK('forgotten', 0)")
assert cursor.fetchall() == [(1,)]
cursor.close()
borrowed.close()
borrowed = pool.get_connection()
cursor = borrowed.cursor()
cursor.execute("SELECT IS_FREE_LOCK('forgotten')")
assert cursor.fetchall() == [(1,)]
cursor.close()
borrowed.close()

# With its C extension too, where the package has one.
for arguments["use_pure"] in (True, False) if mysql.connector.HAVE_CEXT else (True,):
    # It lists the warnings that an answer counts, and then those that the list counts, which are none.
    careful = mysql.connector.connect(**arguments, raise_on_warnings=True)
    warned = careful.cursor()
    try:
        warned.execute("SELECT 1 / 0")
        warned.fetchall()
        sys.exit("no warning")
    except mysql.connector.DatabaseError as error:
        assert error.errno == 1365, error
    connection = mysql.connector.connect(**arguments)
    prepared = connection.cursor(prepared=True)
    for timeout in (0, 1, "0"):
        prepared.execute("SELECT GET_LOCK(%s, %s), RELEASE_ALL_LOCKS()", ("prepared", timeout))
        assert prepared.fetchone() == (1, 1)
    prepared.close()
    connection.cmd_reset_connection()
    connection.cmd_change_user("other", os.environ["PASSWORD"])


def ask(sql, args):
    cursor = connection.cursor()
    cursor.execute(sql, args)
    return cursor.fetchall()[0][0]


steps(ask)
