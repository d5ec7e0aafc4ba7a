package getlock;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.ProtocolException;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * One request over HTTP, on a connection of its own, and its answer. {@code java.net.http} cannot find out that a
 * server has vanished while an answer is waited for, since it does not set the keepalive of TCP.
 */
final class Exchange {
    private static final int LARGEST_ANSWER = 1 << 20;
    private static final int LONGEST_REASON = 200;
    private static final int MOST_HEADERS = 100;

    private final Wire wire;
    private final String request;
    private final CompletableFuture<Answer> answer = new CompletableFuture<>();
    private final long sentAt = Clock.now();
    private volatile boolean wasSent;

    /** What the server answered: a status of HTTP, the body, and its fields if that is a JSON object. */
    record Answer(int code, String body, Map<String, String> fields) {
        /** Whether it is of one that could not pass on the server's. */
        boolean isOfProxy() {
            return code >= 500 && !fields.containsKey("status");
        }

        boolean isGood() {
            return code == 200 && "true".equals(fields.get("success"));
        }

        /** The server's word for it, such as {@code Acquired} or {@code Busy}. */
        String status() {
            return fields.getOrDefault("status", "HTTP_" + code);
        }

        Refused refused() {
            String said = body.isBlank() ? "the server gave no reason" : body.strip();
            String text = fields.getOrDefault("message", said.substring(0, Math.min(said.length(), LONGEST_REASON)));
            return new Refused(status(), status() + ": " + text, null);
        }
    }

    Exchange(Wire wire, String request) {
        this.wire = wire;
        this.request = request;
        Background.start("getlock request", this::run);
    }

    /** The request was not sent before this moment. */
    long sentAt() {
        return sentAt;
    }

    /** Whether there was a connection. */
    boolean wasSent() {
        return wasSent;
    }

    /** Whether the connection broke before the answer was whole, so that nobody knows what it was. */
    boolean isBroken() {
        Throwable why = answer.handle((said, error) -> error).getNow(null);
        return why instanceof IOException && !(why instanceof ProtocolException);
    }

    CompletableFuture<Answer> answer() {
        return answer;
    }

    /** Sends nothing any more, and the server stops working on it. An answer that is on its way still arrives. */
    void hangUp() {
        wire.hangUp();
    }

    void cut() {
        wire.cut();
    }

    Answer await(long nanos) throws IOException, InterruptedException {
        try {
            return answer.get(nanos, TimeUnit.NANOSECONDS);
        } catch (TimeoutException late) {
            throw new SocketTimeoutException("the server did not answer in time");
        } catch (ExecutionException failed) {
            throw failed.getCause() instanceof IOException error ? error : new IOException(failed.getCause());
        }
    }

    private void run() {
        try {
            wire.open();
            wasSent = true;
            wire.send(request);
            answer.complete(read());
        } catch (IOException | RuntimeException | Error why) {
            answer.completeExceptionally(why);
        } finally {
            wire.cut();
        }
    }

    private Answer read() throws IOException {
        String[] status = wire.line().split(" ", 3);
        if (!status[0].startsWith("HTTP/1.") || status.length < 2) {
            throw new ProtocolException("it does not speak HTTP");
        }
        var headers = new HashMap<String, String>();
        for (String line = wire.line(); !line.isEmpty(); line = wire.line()) {
            String[] header = line.split(":", 2);
            if (headers.size() == MOST_HEADERS) throw new ProtocolException("its HTTP has no end");
            if (header.length == 2) headers.put(header[0].toLowerCase(Locale.ROOT), header[1].trim());
        }
        try {
            String body = new String(body(headers), StandardCharsets.UTF_8);
            var whole = new Answer(Integer.parseInt(status[1]), body, Json.fields(body));
            if (whole.isOfProxy()) throw new EOFException("a proxy answered " + whole.code);
            return whole;
        } catch (NumberFormatException wrong) {
            throw new ProtocolException("its HTTP is broken: " + Texts.of(wrong));
        }
    }

    private byte[] body(Map<String, String> headers) throws IOException {
        if ("chunked".equalsIgnoreCase(headers.get("transfer-encoding"))) return chunks();
        String length = headers.get("content-length");
        if (length == null) return wire.bytes(LARGEST_ANSWER);
        int wanted = Math.min(LARGEST_ANSWER, Integer.parseInt(length));
        byte[] body = wire.bytes(wanted);
        if (body.length < wanted) throw new EOFException("the answer was cut off");
        return body;
    }

    private byte[] chunks() throws IOException {
        var body = new ByteArrayOutputStream();
        while (body.size() < LARGEST_ANSWER) {
            int size = Integer.parseInt(wire.line().split(";", 2)[0].trim(), 16);
            if (size == 0) break;
            body.write(wire.bytes(Math.min(size, LARGEST_ANSWER)));
            wire.line();
        }
        return body.toByteArray();
    }
}
