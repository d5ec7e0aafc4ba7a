import getlock.GetLock;
import getlock.Guard;
import getlock.Lease;
import getlock.Leases;
import java.io.IOException;
import java.net.InetAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** What the lists show of a client, and a request that is sent again. */
final class Introductions {
    private static final String LONG = "n".repeat(257);
    private static final Pattern ID = Pattern.compile("\"requestId\":\"([!-~]{16,64})\"");

    private Introductions() {}

    private static void shows(String wanted, String name) throws IOException {
        String rows = Steps.eye.list("LOCKS " + name);
        Check.that(rows.contains(wanted) && rows.lines().count() == 1, "no " + wanted + " in " + rows);
    }

    private static void showsNo(String unwanted, String name) throws IOException {
        String rows = Steps.eye.list("LOCKS " + name);
        Check.that(!rows.contains(unwanted), unwanted + " in " + rows);
    }

    private static String ownName() throws IOException {
        return "@" + InetAddress.getLocalHost().getHostName() + "[" + ProcessHandle.current().pid() + "] Steps'";
    }

    static void ofGuards() throws Exception {
        try (Guard guard = Steps.locks.acquire("introduced")) {
            shows(ownName(), guard.name());
            showsNo("note=", guard.name());
            String facts = " session=" + guard.session() + " fencingToken=" + guard.fencingToken() + " held=true";
            Check.equal("Guard 'introduced'" + facts, guard.toString());
        }
        var named = new GetLock("127.0.0.1", Steps.port).name("it's me").note("nightly \\ backup");
        try (Guard guard = named.acquire("introduced")) {
            shows("client='it\\'s me' note='nightly \\\\ backup'", guard.name());
        }
        try (Guard guard = new GetLock("127.0.0.1", Steps.port).name("").acquire("introduced")) {
            showsNo("client=", guard.name());
        }
        Check.thrown(IllegalArgumentException.class, () -> new GetLock().name(LONG));
        Check.thrown(IllegalArgumentException.class, () -> new GetLock().note(LONG));
        try (Stub stub = Odd.saying(Map.of("INTRODUCE", "ERROR UNKNOWN_COMMAND it is older"))) {
            var stubbed = new GetLock("127.0.0.1", stub.port());
            Check.that(stubbed.acquire("introduced").release(), "an older server grants all the same");
            stubbed.name("").note("none");
            Check.thrown(IllegalArgumentException.class, () -> stubbed.acquire("introduced"));
            Check.equal(1, stub.connections.get());
        }
    }

    static void ofLeases(String url) throws Exception {
        String name = "lease-introduced";
        try (Lease lease = new Leases(url).acquire(name)) {
            shows(ownName(), name);
            Check.equal("Lease '" + name + "' fencingToken=" + lease.fencingToken() + " held=true", lease.toString());
        }
        var named = new Leases(url).name("web-1").note("backup");
        try (Lease lease = named.acquire(name)) {
            shows("client=web-1 note=backup", lease.name());
        }
        var options = Leases.options().client("web-2").note("repair");
        try (Lease lease = named.acquire(name, Steps.SOON, options)) {
            shows("client=web-2 note=repair", lease.name());
        }
        try (Lease lease = new Leases(url).name("").acquire(name)) {
            showsNo("client=", lease.name());
        }
        Check.thrown(IllegalArgumentException.class, () -> Leases.options().client(LONG));
        Check.thrown(IllegalArgumentException.class, () -> Leases.options().note(LONG));
    }

    /** Passes on requests, and loses the answer to the first acquire. Notes the ids of the acquires. */
    private static Stub losing(String url, List<String> ids) throws IOException {
        var client = HttpClient.newHttpClient();
        return new Stub(peer -> {
            var body = new StringBuilder();
            String path = peer.request(body);
            var request = HttpRequest.newBuilder(URI.create(url + path)).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(body.toString())).build();
            String answer = client.send(request, HttpResponse.BodyHandlers.ofString()).body();
            var id = ID.matcher(body);
            if (id.find()) ids.add(id.group(1));
            if (path.endsWith("acquire") && ids.size() == 1) return;
            peer.json(answer);
        });
    }

    static void askedAgain(String url) throws Exception {
        List<String> ids = Collections.synchronizedList(new ArrayList<>());
        try (Stub proxy = losing(url, ids)) {
            var behind = new Leases("http://127.0.0.1:" + proxy.port());
            for (int turn = 0; turn < 2; turn++) {
                Lease lease = behind.acquire("lease-again", Duration.ZERO);
                Check.that(lease.held(), "it is held");
                shows("name=lease-again", lease.name());
                Check.that(lease.release() && Steps.eye.isFree("lease-again"), "it is free");
            }
        }
        Check.equal(3, ids.size());
        Check.that(ids.get(0).equals(ids.get(1)) && !ids.get(1).equals(ids.get(2)), "the ids are " + ids);
    }
}
