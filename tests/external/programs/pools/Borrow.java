import com.zaxxer.hikari.*;
import java.sql.*;
import java.util.Scanner;
import javax.sql.DataSource;
import org.mariadb.jdbc.*;

/** What every script of a pool does: see borrow.py. Of two pools, the last argument says which. */
public class Borrow {
    static final Scanner input = new Scanner(System.in);

    static void say(Object word) {
        System.out.println(word);
        input.nextLine();
    }

    static int take(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("SELECT GET_LOCK('nightly', 0)")) {
            rows.next();
            return rows.getInt(1);
        }
    }

    static DataSource hikari(String url, boolean isAdvised) {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl(url);
        config.setUsername("root");
        config.setMaximumPoolSize(1);
        if (isAdvised) {
            config.setConnectionTestQuery("SELECT RELEASE_ALL_LOCKS()");
            System.setProperty("com.zaxxer.hikari.aliveBypassWindowMs", "0");
        }
        return new HikariDataSource(config);
    }

    static DataSource mariaDb(String url, boolean isAdvised) throws SQLException {
        String all = url + "?user=root&maxPoolSize=1&useResetConnection=true";
        return isAdvised ? new MariaDbDataSource(all) : new MariaDbPoolDataSource(all);
    }

    public static void main(String[] args) throws SQLException {
        String url = "jdbc:mariadb://127.0.0.1:" + args[0] + "/" + args[1];
        boolean isAdvised = args[2].equals("advised");
        DataSource pool = args[3].equals("hikari") ? hikari(url, isAdvised) : mariaDb(url, isAdvised);
        try (Connection first = pool.getConnection()) {
            if (take(first) != 1) throw new IllegalStateException("the lock was not free");
        }
        say("given back");
        try (Connection second = pool.getConnection()) {
            say("lent again");
            say(take(second));
        }
        System.exit(0);
    }
}
