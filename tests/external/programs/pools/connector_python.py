import sys

try:
    from mysql.connector.pooling import MySQLConnectionPool
except ImportError:
    sys.exit(77)
from borrow import DATABASE, PORT, two_borrowers


def ask(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


pool = MySQLConnectionPool(pool_size=1, host="127.0.0.1", port=PORT, user="root", database=DATABASE)
two_borrowers(pool.get_connection, ask, lambda connection: connection.close())
