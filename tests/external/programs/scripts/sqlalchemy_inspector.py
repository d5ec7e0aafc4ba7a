"""The three drivers' dialects, with what a service asks at its start: pre-ping, isolation levels, reflection."""
import os
import sys

try:
    import mysql.connector
    import MySQLdb
    import pymysql
    import sqlalchemy
except ImportError:
    sys.exit(77)
from steps import steps

for driver in ["mysqlconnector", "mysqldb", "pymysql"]:
    url = f"mysql+{driver}://root:{os.environ['PASSWORD']}@127.0.0.1:{sys.argv[1]}/test?charset=utf8mb4"
    engine = sqlalchemy.create_engine(url, pool_pre_ping=True, pool_size=1, max_overflow=0)
    for level in ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]:
        with engine.execution_options(isolation_level=level).connect() as connection:
            assert connection.get_isolation_level() == level
    inspector = sqlalchemy.inspect(engine)
    assert inspector.get_table_names() == [] and inspector.get_view_names() == []
    assert "test" in inspector.get_schema_names()
    assert not inspector.has_table("alembic_version")
    sqlalchemy.MetaData().reflect(engine)
connection = engine.connect()
steps(lambda sql, args: connection.exec_driver_sql(sql, args or None).scalar())
