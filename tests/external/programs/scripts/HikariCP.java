import com.zaxxer.hikari.*;
import java.sql.*;
import java.util.Scanner;

/** What every driver does, step by step, through a pool: see steps.py. */
public class HikariCP {
    static HikariDataSource pool;
    static final Scanner input = new Scanner(System.in);

    static void say(String word) {
        System.out.println(word);
        input.nextLine();
    }

    static void ask(long wanted, String sql, Object... args) throws SQLException {
        try (Connection connection = pool.getConnection(); PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < args.length; at++) statement.setObject(at + 1, args[at]);
            ResultSet rows = statement.executeQuery();
            rows.next();
            long got = rows.getLong(1);
            if (got != wanted) throw new IllegalStateException(got + " is not " + wanted);
        }
    }

    public static void main(String[] args) throws SQLException {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl("jdbc:mariadb://127.0.0.1:" + args[0] + "/test");
        config.setUsername("root");
        config.setPassword(System.getenv("PASSWORD"));
        config.setMaximumPoolSize(1);
        pool = new HikariDataSource(config);
        try (Connection connection = pool.getConnection()) {
            if (connection.getMetaData().getTables(null, null, "%", new String[] {"TABLE"}).next()) throw new IllegalStateException("a table");
            connection.setAutoCommit(false);
            connection.setReadOnly(true);
            connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
        }
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
