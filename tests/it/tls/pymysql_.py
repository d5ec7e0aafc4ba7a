"""A lock by PyMySQL and TLS. Arguments: port, certificate of the authority."""
import sys

try:
    import pymysql
except ImportError:
    sys.exit(77)

arguments = {"host": "127.0.0.1", "port": int(sys.argv[1]), "user": "root"}
connection = pymysql.connect(**arguments, ssl_ca=sys.argv[2], ssl_verify_cert=True)
with connection.cursor() as cursor:
    cursor.execute("SELECT GET_LOCK('nightly', 0)")
    assert cursor.fetchone() == (1,)
    cursor.execute("SHOW STATUS LIKE 'Ssl_version'")
    assert cursor.fetchone() == ("Ssl_version", "TLSv1.3")
    cursor.execute("SELECT @@require_secure_transport")
    assert cursor.fetchone() == (1,)

try:
    pymysql.connect(**arguments, ssl_disabled=True)
except pymysql.err.OperationalError as error:
    assert error.args[0] == 3159, error
else:
    raise AssertionError("it came in without TLS")
