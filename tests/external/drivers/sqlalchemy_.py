import os
import sys

try:
    import pymysql
    import sqlalchemy
except ImportError:
    sys.exit(77)
from steps import steps

engine = sqlalchemy.create_engine(f"mysql+pymysql://root:{os.environ['PASSWORD']}@127.0.0.1:{sys.argv[1]}/test")
connection = engine.connect()


def ask(sql, args):
    value = connection.exec_driver_sql(sql, args or None).scalar()
    connection.rollback()
    return value


steps(ask)
