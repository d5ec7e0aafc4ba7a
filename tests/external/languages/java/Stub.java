import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** A server that answers as a step wants it to. */
final class Stub implements AutoCloseable {
    /** Serves one connection; returns or throws at its end. */
    interface Service {
        void serve(Peer peer) throws Exception;
    }

    final AtomicInteger connections = new AtomicInteger();
    final AtomicInteger closed = new AtomicInteger();
    /** When the last connection ended. */
    final AtomicLong closedAt = new AtomicLong();
    private final ServerSocket server;
    private final Service service;

    Stub(Service service) throws IOException {
        this.service = service;
        server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        start(this::accept);
    }

    int port() {
        return server.getLocalPort();
    }

    private void accept() {
        try {
            while (true) {
                Socket socket = server.accept();
                connections.incrementAndGet();
                start(() -> serve(socket));
            }
        } catch (IOException over) {
            // The step is over.
        }
    }

    private void serve(Socket socket) {
        try (socket) {
            service.serve(new Peer(socket));
        } catch (Exception gone) {
            // The client has closed it.
        } finally {
            closedAt.set(System.nanoTime());
            closed.incrementAndGet();
        }
    }

    private static void start(Runnable task) {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        thread.start();
    }

    @Override
    public void close() throws IOException {
        server.close();
    }

    /** The client, as the stub sees it. */
    static final class Peer {
        private final Socket socket;
        private final BufferedReader reader;

        Peer(Socket socket) throws IOException {
            this.socket = socket;
            reader = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
        }

        String read() throws IOException {
            String line = reader.readLine();
            if (line == null) throw new IOException("the client has gone");
            return line;
        }

        /** Says nothing. */
        void readAll() throws IOException {
            while (true) read();
        }

        void say(String text) throws IOException {
            write(text + "\n");
        }

        void write(String text) throws IOException {
            socket.getOutputStream().write(text.getBytes(StandardCharsets.UTF_8));
        }

        /** Answers the first lines of a client. True if it was one of them. */
        boolean answersHello(String line) throws IOException {
            if (line.startsWith("INTRODUCE ")) {
                say("1");
                return true;
            }
            if (!line.equals("HELLO")) return false;
            say("HELLO version=0.1.0 protocol=1 session=7 max_line=1024");
            return true;
        }

        /** A request of HTTP up to the end of its body; its path. */
        String request() throws IOException {
            return request(new StringBuilder());
        }

        String request(StringBuilder body) throws IOException {
            String path = read().split(" ")[1];
            int length = 0;
            for (String line = read(); !line.isEmpty(); line = read()) {
                String[] header = line.split(": *", 2);
                if (header[0].equalsIgnoreCase("content-length")) length = Integer.parseInt(header[1]);
            }
            while (length-- > 0) body.append((char) reader.read());
            return path;
        }

        void json(String body) throws IOException {
            say("HTTP/1.1 200 OK\r\nContent-Length: " + body.length() + "\r\n\r\n" + body);
        }
    }
}
