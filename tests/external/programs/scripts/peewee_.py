import sys

try:
    import peewee
    import pymysql
except ImportError:
    sys.exit(77)
from steps import connection_arguments, steps

arguments = connection_arguments()
database = peewee.MySQLDatabase(arguments.pop("database"), **arguments)
database.connect()
assert database.get_tables() == [] and database.get_views() == []
assert not database.table_exists("migratehistory")
with database.atomic(), database.savepoint():
    assert database.execute_sql("SELECT 1").fetchone() == (1,)
steps(lambda sql, args: database.execute_sql(sql, args or None).fetchone()[0])
