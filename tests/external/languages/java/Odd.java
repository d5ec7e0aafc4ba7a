import getlock.GetLock;
import getlock.Guard;
import getlock.Leases;
import getlock.Refused;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** What no getlockd says. */
final class Odd {
    private static final Duration SHORT = Duration.ofMillis(300);

    private Odd() {}

    /** Answers as it should, but for lines that begin with a word of these. */
    static Stub saying(Map<String, String> odd) throws IOException {
        return new Stub(peer -> {
            while (true) {
                String line = peer.read();
                String said = odd.get(line.split(" ")[0]);
                if (said != null) peer.say(said);
                else if (line.equals("KEEPALIVE")) peer.say("KEEPALIVE left=5.000");
                else if (!peer.answersHello(line)) peer.say(line.startsWith("FENCING_TOKEN") ? "42" : "1");
            }
        });
    }

    /** To one who wants a lock: it is tried again, and nothing is granted. */
    static void answers() throws Exception {
        var odd = new ArrayList<>(List.of(
            Map.of("FENCING_TOKEN", "NULL"), Map.of("GET_LOCK", "NULL"), Map.of("GET_LOCK", "no")));
        for (String left : List.of("-5", "", "NaN", "1e3", "5 more", "9".repeat(400))) {
            odd.add(Map.of("KEEPALIVE", "KEEPALIVE left=" + left));
        }
        var runs = new AtomicInteger();
        for (var said : odd) {
            try (Stub stub = saying(said)) {
                var stubbed = new GetLock("127.0.0.1", stub.port());
                Check.thrown(IOException.class, () -> stubbed.lock("odd", SHORT, guard -> runs.incrementAndGet()));
                Check.that(stub.connections.get() > 1, "it is tried again after " + said);
            }
        }
        try (Stub stub = saying(Map.of("GET_LOCK", "ERROR KILLED"))) {
            var stubbed = new GetLock("127.0.0.1", stub.port());
            Check.equal("KILLED", Check.thrown(Refused.class, () -> stubbed.acquire("odd")).symbol());
        }
        Check.equal(0, runs.get());
    }

    /** To one who holds a lock: it is lost before its time is over. */
    static void words() throws Exception {
        for (String piece : List.of("1\n", "KEEPALIVE left=-5\n", "x".repeat(1 << 20), "KEEPALIVE left=1.000\n")) {
            var second = new AtomicLong();
            try (Stub stub = new Stub(peer -> {
                int asked = 0;
                while (asked < 3) {
                    String line = peer.read();
                    if (line.equals("KEEPALIVE") && ++asked == 3) break;
                    if (asked == 2) second.set(System.nanoTime());
                    if (line.equals("KEEPALIVE")) peer.say("KEEPALIVE left=1.000");
                    else if (!peer.answersHello(line)) peer.say(line.startsWith("FENCING_TOKEN") ? "42" : "1");
                }
                if (piece.equals("1\n")) {
                    peer.say("1");
                    peer.readAll();
                }
                while (true) peer.write(piece);
            })) {
                Guard guard = new GetLock("127.0.0.1", stub.port()).acquire("odd");
                guard.lost().get(20, TimeUnit.SECONDS);
                double seconds = Check.secondsSince(second.get());
                Check.that(seconds < 0.5, "it is told " + seconds + " s after the second question: " + guard.why());
                Check.that(!guard.held() && !guard.release(), "it was lost");
                Check.inTime("a closed connection", () -> stub.closed.get() == 1);
            }
        }
    }

    private static Stub leasing(String grant, String beat) throws IOException {
        return new Stub(peer -> {
            String path = peer.request();
            peer.json("{" + (path.endsWith("heartbeat") ? beat : grant) + ",\"status\":\"Acquired\"}");
        });
    }

    static void grants() throws Exception {
        for (String tokens : List.of("\"fencingToken\":5", "\"lockToken\":null,\"fencingToken\":5",
                "\"lockToken\":\"secret\",\"fencingToken\":\"NULL\"")) {
            try (Stub stub = leasing("\"success\":true," + tokens, "")) {
                var stubbed = new Leases("http://127.0.0.1:" + stub.port());
                Check.thrown(IOException.class, () -> stubbed.acquire("odd", SHORT));
            }
        }
    }

    /** A heartbeat that is no success renews nothing. */
    static void heartbeats() throws Exception {
        String tokens = ",\"lockToken\":\"secret\",\"fencingToken\":42";
        try (Stub stub = leasing("\"success\":true" + tokens, "\"success\":false" + tokens)) {
            var lease = new Leases("http://127.0.0.1:" + stub.port()).acquire("odd", SHORT, Steps.second());
            Thread.sleep(900);
            Check.that(!lease.held() && stub.connections.get() > 2, "it is not renewed");
        }
    }
}
