import sys

try:
    import MySQLdb
except ImportError:
    sys.exit(77)
from steps import ask_by_cursor, connection_arguments, steps

connection = MySQLdb.connect(**connection_arguments())
connection.ping()
connection.commit()
steps(ask_by_cursor(connection))
