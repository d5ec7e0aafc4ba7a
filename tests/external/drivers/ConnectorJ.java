import java.sql.*;
import java.util.Scanner;

/** What every driver does, step by step: see steps.py. */
public class ConnectorJ {
    static Connection connection;
    static final Scanner input = new Scanner(System.in);

    static void say(String word) {
        System.out.println(word);
        input.nextLine();
    }

    static void ask(long wanted, String sql, Object... args) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < args.length; at++) statement.setObject(at + 1, args[at]);
            ResultSet rows = statement.executeQuery();
            rows.next();
            long got = rows.getLong(1);
            if (got != wanted) throw new IllegalStateException(got + " is not " + wanted);
        }
    }

    public static void main(String[] args) throws SQLException {
        String url = "jdbc:mariadb://127.0.0.1:" + args[0] + "/test?user=root&password=" + System.getenv("PASSWORD");
        connection = DriverManager.getConnection(url + "&useServerPrepStmts=true");
        if (!connection.isValid(5)) throw new IllegalStateException("not valid");
        connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        ask(1, "SELECT GET_LOCK('nightly', 10)");
        say("held");
        ask(1, "SELECT RELEASE_LOCK('nightly')");
        say("released");
        ask(0, "SELECT GET_LOCK(?, ?)", "nightly", 0);
        say("refused");
        ask(1, "SELECT GET_LOCK(?, ?)", "nightly", 10.5);
        ask(1, "SELECT IS_USED_LOCK(?) = CONNECTION_ID()", "nightly");
        say("again");
        Runtime.getRuntime().halt(0); // without a goodbye
    }
}
