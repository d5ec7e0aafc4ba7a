import sys

try:
    import pymysql
except ImportError:
    sys.exit(77)
from steps import ask_by_cursor, connection_arguments, steps

connection = pymysql.connect(**connection_arguments())
connection.ping()
connection.commit()
steps(ask_by_cursor(connection))
