import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** Another client of the server, by a plain socket. */
final class Line implements AutoCloseable {
    private final Socket socket;
    private final BufferedReader reader;

    Line(int port) throws IOException {
        socket = new Socket("127.0.0.1", port);
        socket.setSoTimeout(20_000);
        reader = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
    }

    void send(String line) throws IOException {
        socket.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
    }

    String read() throws IOException {
        return reader.readLine();
    }

    String ask(String line) throws IOException {
        send(line);
        return read();
    }

    /** The rows of a list, each with a line feed. */
    String list(String line) throws IOException {
        var rows = new StringBuilder();
        for (String row = ask(line); !row.startsWith("END"); row = read()) rows.append(row).append('\n');
        return rows.toString();
    }

    void take(String name) throws IOException {
        Check.equal("1", ask("GET_LOCK " + name + " 0"));
    }

    void free(String name) throws IOException {
        Check.equal("1", ask("RELEASE_LOCK " + name));
    }

    boolean isFree(String name) throws IOException {
        return ask("IS_FREE_LOCK " + name).equals("1");
    }

    int waiters(String name) throws IOException {
        return (int) list("WAITERS " + name).lines().count();
    }

    /** The session of the only one who waits, as soon as somebody does. */
    long waiter(String name) throws Exception {
        Check.inTime("a waiter for " + name, () -> waiters(name) == 1);
        String row = list("WAITERS " + name);
        for (String field : row.trim().split(" ")) {
            if (field.matches("(id|session)=\\d+")) return Long.parseLong(field.split("=")[1]);
        }
        throw new AssertionError("no session in " + row);
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
