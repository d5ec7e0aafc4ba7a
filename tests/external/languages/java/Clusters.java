import getlock.GetLock;
import getlock.Guard;
import getlock.Lease;
import getlock.Leases;
import getlock.Lost;
import getlock.Refused;
import java.io.IOException;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;

/** Clusters, played by stubs of their nodes. */
final class Clusters {
    private static final Duration TRY = Duration.ZERO;
    private static final String NO_LEADER = "ERROR UNAVAILABLE no leader\n";
    private static final String BODY = "{\"success\":false,\"status\":\"Unavailable\",\"message\":\"no leader\"}";
    private static final String NO_LEADER_HTTP =
        "HTTP/1.1 503 No\r\nContent-Length: " + BODY.length() + "\r\n\r\n" + BODY;

    private Clusters() {}

    /** A node that grants. It answers questions with these promises, the last of them again and again. */
    private static final class Node implements AutoCloseable {
        /** When each question came. */
        final List<Long> asked = new CopyOnWriteArrayList<>();
        final Stub stub;

        Node(int answers, Duration wait, Duration silence, String... promises) throws IOException {
            stub = new Stub(peer -> {
                while (true) {
                    String line = peer.read();
                    if (line.equals("HELLO")) Thread.sleep(silence.toMillis());
                    if (peer.answersHello(line)) continue;
                    if (line.equals("KEEPALIVE")) {
                        asked.add(System.nanoTime());
                        int at = Math.min(asked.size(), promises.length) - 1;
                        if (asked.size() <= answers) peer.say("KEEPALIVE " + promises[at]);
                        continue;
                    }
                    if (line.startsWith("GET_LOCK")) Thread.sleep(wait.toMillis());
                    peer.say(line.startsWith("FENCING_TOKEN") ? "42" : "1");
                }
            });
        }

        Node(String... promises) throws IOException {
            this(1000, Duration.ZERO, Duration.ZERO, promises);
        }

        String address() {
            return "127.0.0.1:" + stub.port();
        }

        void asked(int wanted) throws Exception {
            Check.inTime(wanted + " questions", () -> asked.size() >= wanted);
        }

        @Override
        public void close() throws IOException {
            stub.close();
        }
    }

    /** A node that cannot serve: it says so, or closes the connection without a word. */
    private static Stub elsewhere(String words) throws IOException {
        return new Stub(peer -> {
            peer.read();
            peer.write(words);
        });
    }

    private static String nowhere() throws IOException {
        try (ServerSocket closed = new ServerSocket(0)) {
            return "127.0.0.1:" + closed.getLocalPort();
        }
    }

    private static GetLock nodes(String... addresses) {
        return new GetLock(List.of(addresses));
    }

    private static void take(GetLock locks) throws Exception {
        Check.that(locks.acquire("several", TRY).release(), "it was held");
    }

    static void addresses() throws Exception {
        try (Node good = new Node("left=25.000")) {
            take(new GetLock(nowhere() + ", " + good.address(), 3305));
            for (String words : List.of("", NO_LEADER, "ERROR SHUTDOWN the server is stopping\n")) {
                try (Stub other = elsewhere(words)) {
                    GetLock locks = nodes("127.0.0.1:" + other.port(), good.address());
                    for (int i = 0; i < 3; i++) take(locks);
                    Check.equal(1, other.connections.get()); // The last good one is the first.
                }
            }
        }
        try (Stub one = elsewhere(NO_LEADER); Stub two = elsewhere(NO_LEADER)) {
            GetLock locks = nodes("127.0.0.1:" + one.port(), "127.0.0.1:" + two.port());
            Check.equal("UNAVAILABLE", Check.thrown(Refused.class, () -> locks.acquire("several", TRY)).symbol());
            Check.equal(List.of(1, 1), List.of(one.connections.get(), two.connections.get()));
        }
        for (String wrong : List.of("", "a:3305,", "a:99999")) {
            Check.thrown(IllegalArgumentException.class, () -> new GetLock(wrong, 3305));
        }
    }

    static void parked() throws Exception {
        try (Node node = new Node(1000, Duration.ZERO, Duration.ofSeconds(4), "left=25.000");
                Stub other = elsewhere("")) {
            take(nodes(node.address(), "127.0.0.1:" + other.port()));
            Check.equal(0, other.connections.get());
        }
    }

    static void toldInTime() throws Exception {
        try (Node node = new Node("left=0.800 term=7", "left=1.000 term=7", "left=0.700 term=7")) {
            Guard guard = nodes(node.address()).stopWithin(Duration.ofMillis(200)).acquire("told", TRY);
            node.asked(13);
            Check.that(guard.held(), "it is held as long as it is answered");
            var spans = new ArrayList<Double>();
            for (int i = 4; i < 13; i++) spans.add(Check.seconds(node.asked.get(i - 1), node.asked.get(i)));
            spans.sort(null);
            double middle = spans.get(spans.size() / 2);
            Check.that(middle > 0.09 && middle < 0.18, "a question each " + middle + " s");
            Check.that(guard.release(), "it was held");
        }
        Duration most = Duration.ofMillis(300);
        try (Node node = new Node(3, Duration.ZERO, Duration.ZERO, "left=1.000 term=7")) {
            Guard guard = nodes(node.address()).stopWithin(most).acquire("told", TRY);
            guard.lost().get(20, TimeUnit.SECONDS);
            double seconds = Check.secondsSince(node.asked.get(2));
            Check.that(seconds < 0.8 && !guard.held(), "it is told " + seconds + " s after the third question");
        }
        try (Node node = new Node("left=1.000 term=7")) {
            GetLock locks = nodes(node.address()).stopWithin(most.plusMillis(10));
            var error = Check.thrown(IllegalArgumentException.class, () -> locks.acquire("told", TRY));
            Check.that(error.getMessage().contains("--cluster-ttl"), error.getMessage());
        }
    }

    static void oldLeader() throws Exception {
        try (Node node = new Node("left=1.000 term=8", "left=1.000 term=8", "left=1.000 term=7")) {
            GetLock locks = nodes(node.address()).retry(Duration.ofMillis(1200));
            Guard guard = locks.acquire("old", TRY);
            Lost lost = guard.lost().get(20, TimeUnit.SECONDS);
            Check.that(lost.getMessage().contains("no longer leads"), lost.getMessage());
            Check.that(!guard.held() && node.asked.size() == 3, "the third answer is of an old leader");
            Check.inTime("a closed connection", () -> node.stub.closed.get() == 1);
            Check.thrown(IOException.class, () -> locks.acquire("old", TRY));
        }
        try (Node node = new Node("left=1.000 term=8", "left=1.000 term=9")) {
            Guard guard = nodes(node.address()).acquire("old", TRY);
            guard.lost().get(20, TimeUnit.SECONDS);
            Check.equal(2, node.asked.size()); // A connection is of one term.
        }
        Duration wait = Duration.ofMillis(1200);
        try (Node node = new Node(1000, wait, Duration.ZERO, "left=1.000 term=8", "left=0.000 term=8")) {
            Check.thrown(IOException.class, () -> nodes(node.address()).acquire("old", TRY));
            Check.inTime("a closed connection", () -> node.stub.closed.get() == 1);
        }
    }

    /** The leader vanishes while a client waits: its questions find that out. */
    static void waitsForTheNext() throws Exception {
        try (Node old = new Node(1, Duration.ofMinutes(1), Duration.ZERO, "left=0.500 term=7");
                Node next = new Node("left=1.000 term=8")) {
            long since = System.nanoTime();
            Guard guard = nodes(old.address(), next.address()).acquire("waits", Steps.LONG);
            double seconds = Check.secondsSince(since);
            Check.that(seconds > 0.8 && seconds < 5, "the next one serves after " + seconds + " s");
            Check.that(guard.release(), "it was held");
        }
    }

    /** A node for leases, which adds these fields to what it says of a grant, and of a heartbeat. */
    private static Stub leasing(List<Long> beats, String granted, String beaten) throws IOException {
        return new Stub(peer -> {
            String path = peer.request();
            boolean isBeat = path.endsWith("heartbeat");
            if (isBeat) beats.add(System.nanoTime());
            peer.json("{\"status\":\"Acquired\",\"lockToken\":\"secret\",\"fencingToken\":42,"
                + (isBeat ? beaten : granted) + "}");
        });
    }

    static void leases() throws Exception {
        String good = "\"success\":true";
        List<Long> beats = new CopyOnWriteArrayList<>();
        List<Long> otherBeats = new CopyOnWriteArrayList<>();
        try (Stub node = leasing(beats, good, good)) {
            String url = "http://127.0.0.1:" + node.port();
            Check.that(new Leases("http://" + nowhere() + "," + url).acquire("several", TRY).release(), "it was held");
            for (String words : List.of("", NO_LEADER_HTTP)) {
                try (Stub other = elsewhere(words)) {
                    var leases = new Leases(List.of("http://127.0.0.1:" + other.port(), url));
                    for (int i = 0; i < 2; i++) Check.that(leases.acquire("several", TRY).release(), "it was held");
                    Check.equal(1, other.connections.get());
                }
            }
            // The lease outlives the leader: the next node takes its heartbeats.
            try (Stub first = leasing(otherBeats, good, "\"success\":false")) {
                var leases = new Leases(List.of("http://127.0.0.1:" + first.port(), url));
                Lease lease = leases.lock("several", TRY, Steps.second());
                Check.inTime("heartbeats to the other", () -> beats.size() > 4);
                Check.that(lease.held() && otherBeats.size() == 1, "it is kept by the other");
                Check.that(lease.release(), "it was held");
            }
        }
        otherBeats.clear();
        try (Stub old = leasing(otherBeats, good + ",\"term\":8", good + ",\"term\":7")) {
            Lease lease = new Leases("http://127.0.0.1:" + old.port()).lock("several", TRY, Steps.second());
            lease.lost().get(20, TimeUnit.SECONDS);
            Check.that(otherBeats.size() > 1, "what an old leader acknowledges does not count");
        }
    }
}
