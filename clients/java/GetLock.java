import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.StandardSocketOptions;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import jdk.net.ExtendedSocketOptions;

/**
 * Locks of getlockd, by its line protocol. Copy this file: it needs Java 17 and nothing else.
 *
 * <pre>{@code
 * var locks = new GetLock("127.0.0.1", 3305);
 * try (var guard = locks.lock("nightly", Duration.ofSeconds(10))) {
 *     if (guard == null) return "somebody else has it";
 *     guard.lost().thenAccept(why -> job.cancel());
 *     job.run(guard.token());
 * }
 * }</pre>
 *
 * Each guard has a connection of its own, and a thread that sees the end of it. A block whose lock was
 * lost ends with {@link Lost}, unless it ends with an exception of its own.
 */
public final class GetLock {
    /** What the server may take for what does not wait. */
    private static final Duration ANSWER_TIME = Duration.ofSeconds(10);

    private final String host;
    private final int port;
    private String hello = "PING";
    private SSLSocketFactory tls;
    private Duration retry = Duration.ofSeconds(30);

    public GetLock(String host, int port) {
        this.host = host;
        this.port = port;
    }

    public GetLock user(String user, String password) {
        hello = "AUTH " + quoted(user) + " " + quoted(password);
        return this;
    }

    public GetLock tls(SSLSocketFactory factory) {
        tls = factory;
        return this;
    }

    /** For how long a server that is away is tried: 30 s unless told otherwise. */
    public GetLock retry(Duration time) {
        retry = time;
        return this;
    }

    /** Null if not granted within the timeout; a negative one waits for ever. */
    public Guard lock(String name, Duration timeout) throws IOException {
        return take("GET_LOCK", quoted(name), timeout);
    }

    /** As {@link #lock}, beside others that share it. */
    public Guard sharedLock(String name, Duration timeout) throws IOException {
        return take("GET_SHARED_LOCK", quoted(name), timeout);
    }

    /** Nothing is held yet, so a wait that breaks may connect and queue again. */
    private Guard take(String verb, String name, Duration timeout) throws IOException {
        boolean forEver = timeout.isNegative();
        long start = System.nanoTime();
        long awaySince = start;
        for (int attempt = 0; ; attempt++) {
            Connection connection = null;
            try {
                connection = new Connection();
                long left = forEver ? -1 : Math.max(0, timeout.toMillis() - millisSince(start));
                long patience = forEver ? 0 : left + ANSWER_TIME.toMillis();
                if (connection.ask(verb + " " + name + " " + (forEver ? "-1" : left + "ms"), patience).equals("1")) {
                    String token = connection.ask("FENCING_TOKEN " + name, ANSWER_TIME.toMillis());
                    return new Guard(connection, name, Long.parseLong(token));
                }
                connection.close();
                return null;
            } catch (IOException error) {
                if (connection != null) {
                    connection.close();
                    awaySince = System.nanoTime();
                }
                long pause = (long) (Math.min(2000, 50 << Math.min(attempt, 6)) * ThreadLocalRandom.current().nextDouble(0.5, 1));
                boolean isFinal = error instanceof Refused refused && !Set.of("SHUTDOWN", "LIMIT").contains(refused.symbol);
                boolean late = !forEver && millisSince(start) + pause > timeout.toMillis();
                if (isFinal || late || millisSince(awaySince) + pause > retry.toMillis()) throw error;
                sleep(pause);
            }
        }
    }

    /** What the server answered as ERROR: the symbol is for programs, the message for people. */
    public static class Refused extends IOException {
        public final String symbol;

        Refused(String symbol, String text, Throwable cause) {
            super(text, cause);
            this.symbol = symbol;
        }
    }

    /** The lock is gone. The symbol is the reason that the server gave, null if the connection broke. */
    public static final class Lost extends Refused {
        Lost(IOException why) {
            super(why instanceof Refused refused ? refused.symbol : null, why.getMessage(), why);
        }
    }

    /** A lock that is held. */
    public static final class Guard implements AutoCloseable {
        private final Connection connection;
        private final String name;
        private final long token;
        private final CompletableFuture<Lost> lost = new CompletableFuture<>();
        private final CompletableFuture<Boolean> released = new CompletableFuture<>();

        private Guard(Connection connection, String name, long token) throws IOException {
            this.connection = connection;
            this.name = name;
            this.token = token;
            connection.socket.setSoTimeout(0);
            Thread watcher = new Thread(this::watch, "lock " + name);
            watcher.setDaemon(true);
            watcher.start();
        }

        /** The fencing token. */
        public long token() {
            return token;
        }

        /** Completes as soon as the lock is lost; what depends on it runs in the guard's thread. */
        public CompletableFuture<Lost> lost() {
            return lost.copy();
        }

        /** Frees the lock. True if it was held until now, false if it had been lost. */
        public synchronized boolean release() {
            try {
                if (!released.isDone()) connection.send("RELEASE_LOCK " + name);
                released.completeOnTimeout(false, ANSWER_TIME.toSeconds(), TimeUnit.SECONDS);
            } catch (IOException broken) {
                connection.close(); // which the watcher sees
            }
            boolean held = released.join();
            connection.close();
            return held;
        }

        @Override
        public void close() throws Lost {
            if (!release()) throw lost.join();
        }

        /** The next line is the answer to a release, or the reason of the end, or the end. */
        private void watch() {
            try {
                String line = connection.line();
                if (!line.equals("1")) throw new IOException(line);
                released.complete(true);
            } catch (IOException why) {
                released.complete(false);
                lost.complete(new Lost(why));
            }
        }
    }

    private final class Connection {
        private final Socket socket;
        private final BufferedReader reader;

        Connection() throws IOException {
            Socket plain = new Socket();
            try {
                plain.connect(new InetSocketAddress(host, port), (int) ANSWER_TIME.toMillis());
                // A server that has vanished is found within half a minute.
                plain.setOption(StandardSocketOptions.SO_KEEPALIVE, true);
                if (plain.supportedOptions().contains(ExtendedSocketOptions.TCP_KEEPIDLE)) {
                    plain.setOption(ExtendedSocketOptions.TCP_KEEPIDLE, 10);
                    plain.setOption(ExtendedSocketOptions.TCP_KEEPINTERVAL, 5);
                    plain.setOption(ExtendedSocketOptions.TCP_KEEPCOUNT, 3);
                }
                socket = tls == null ? plain : encrypted(plain);
                reader = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
                ask(hello, ANSWER_TIME.toMillis());
            } catch (IOException error) {
                plain.close();
                throw error;
            }
        }

        private Socket encrypted(Socket plain) throws IOException {
            SSLSocket socket = (SSLSocket) tls.createSocket(plain, host, port, true);
            var parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            return socket;
        }

        void send(String line) throws IOException {
            socket.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
        }

        String ask(String line, long patience) throws IOException {
            socket.setSoTimeout((int) Math.min(patience, Integer.MAX_VALUE));
            send(line);
            return line();
        }

        String line() throws IOException {
            String line = reader.readLine();
            if (line == null) throw new EOFException("the connection ended");
            String[] words = line.split(" ", 3);
            if (words[0].equals("ERROR")) throw new Refused(words[1], words[2], null);
            return line;
        }

        void close() {
            try {
                socket.close();
            } catch (IOException ignored) {
                // It is closed all the same.
            }
        }
    }

    /** One word, whatever is in it; no text can be a second line. */
    private static String quoted(String text) {
        String safe = text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0");
        return "'" + safe.replace("\n", "\\n").replace("\r", "\\r") + "'";
    }

    private static long millisSince(long nanos) {
        return (System.nanoTime() - nanos) / 1_000_000;
    }

    private static void sleep(long millis) throws IOException {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new IOException(interrupted);
        }
    }
}
