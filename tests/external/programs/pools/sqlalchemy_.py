import sys

try:
    import pymysql
    import sqlalchemy
except ImportError:
    sys.exit(77)
from borrow import ADVISED, DATABASE, PORT, two_borrowers

engine = sqlalchemy.create_engine(f"mysql+pymysql://root@127.0.0.1:{PORT}/{DATABASE}", pool_size=1, max_overflow=0)
if ADVISED:

    @sqlalchemy.event.listens_for(engine, "reset")
    def reset(connection, record, state):
        connection.cursor().execute("DO RELEASE_ALL_LOCKS()")


two_borrowers(
    engine.connect,
    lambda connection, sql: connection.exec_driver_sql(sql).scalar(),
    lambda connection: connection.close(),
)
