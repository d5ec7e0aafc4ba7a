"""The commands that need no table, on a new project of migrations, then a lock by the engine that alembic made."""
import contextlib
import io
import os
import sys
import tempfile

try:
    import pymysql
    from alembic import command
    from alembic.config import Config
except ImportError:
    sys.exit(77)
import sqlalchemy
from steps import steps

url = f"mysql+pymysql://root:{os.environ['PASSWORD']}@127.0.0.1:{sys.argv[1]}/test"
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    config = Config(os.path.join(folder, "alembic.ini"), stdout=io.StringIO())
    command.init(config, os.path.join(folder, "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.current(config)
    command.heads(config)
engine = sqlalchemy.create_engine(url)
connection = engine.connect()
steps(lambda sql, args: connection.exec_driver_sql(sql, args or None).scalar())
