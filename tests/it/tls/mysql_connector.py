"""A lock by mysql-connector-python and TLS. Arguments: port, certificate of the authority."""
import sys

try:
    import mysql.connector
except ImportError:
    sys.exit(77)

arguments = {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "root"}
verified = {"ssl_ca": sys.argv[2], "ssl_verify_cert": True}
# It takes TLS where the server has it, and checks nothing, unless it is told otherwise.
for tls in {}, verified:
    for pure in (True, False) if mysql.connector.HAVE_CEXT else (True,):
        connection = mysql.connector.connect(**arguments, **tls, use_pure=pure)
        cursor = connection.cursor()
        cursor.execute("SELECT GET_LOCK('nightly', 10)")
        assert cursor.fetchall() == [(1,)]
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        assert cursor.fetchall()[0][1].startswith("TLS_")
        connection.cmd_reset_connection()
        cursor.execute("SELECT @@have_ssl")
        assert cursor.fetchall() == [("YES",)]
        connection.close()
