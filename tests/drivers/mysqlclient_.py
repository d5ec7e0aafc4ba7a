import sys

try:
    import MySQLdb
except ImportError:
    sys.exit(77)
from steps import connection_arguments, steps

connection = MySQLdb.connect(**connection_arguments())


def ask(sql, args):
    with connection.cursor() as cursor:
        cursor.execute(sql, args or None)
        return cursor.fetchone()[0]


connection.ping()
connection.commit()
steps(ask)
