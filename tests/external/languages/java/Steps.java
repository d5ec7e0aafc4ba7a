import getlock.GetLock;
import getlock.Guard;
import getlock.Lease;
import getlock.Leases;
import getlock.Lost;
import getlock.NotGranted;
import getlock.Refused;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;

/** The steps of tests/external/languages/steps.md, of which each is told about in a line. */
public class Steps {
    static final Duration SOON = Duration.ofMillis(200);
    static final Duration LONG = Duration.ofSeconds(20);

    static int port;
    static GetLock locks;
    static Leases leases;
    static Line other;
    static Line eye;
    static boolean failed;

    interface Step {
        void run() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        port = Integer.parseInt(args[0]);
        locks = new GetLock("127.0.0.1", port);
        if (args[1].equals("hold")) Outlive.hold(locks, args[2]);
        leases = new Leases("http://127.0.0.1:" + args[1]);
        step("acquire", Steps::acquire);
        step("try-lock", Steps::tryLock);
        step("nothing-is-no-block", Steps::nothingIsNoBlock);
        step("not-granted", Steps::notGranted);
        step("body-needs-the-lock", Steps::bodyNeedsTheLock);
        skip("decorator-needs-the-lock", "Java has no decorators");
        step("body-result", Steps::bodyResult);
        step("shared", Steps::shared);
        step("refused", Steps::refused);
        step("server-away", Steps::serverAway);
        step("killed-waiting", Steps::killedWaiting);
        step("interrupted-waiting", Steps::interruptedWaiting);
        step("introduced", Introductions::ofGuards);
        step("lost-in-the-body", Steps::lostInTheBody);
        step("lost-and-raised", Steps::lostAndRaised);
        step("release-after-loss", Steps::releaseAfterLoss);
        step("guard-as-block", Steps::guardAsBlock);
        step("ended-while-waiting", Steps::endedWhileWaiting);
        step("ended-as-granted", Steps::endedAsGranted);
        step("ended-while-holding", Steps::endedWhileHolding);
        for (String name : List.of("fork-leaves", "fork-exits", "fork-outlives")) skip(name, "Java does not fork");
        step("close-on-exec", Steps::closeOnExec);
        step("forever", Steps::forever);
        step("wrong-timeouts", Steps::wrongTimeouts);
        step("wrong-arguments", Steps::wrongArguments);
        step("told-in-time", Steps::toldInTime);
        step("held-in-time", Steps::heldInTime);
        step("open-to-the-end", Steps::openToTheEnd);
        step("late-grant", Steps::lateGrant);
        step("questions-in-a-wait", Steps::questionsInAWait);
        step("several-addresses", Clusters::addresses);
        step("parked", Clusters::parked);
        step("told-in-a-cluster", Clusters::toldInTime);
        step("old-leader", Clusters::oldLeader);
        step("waits-for-the-next", Clusters::waitsForTheNext);
        step("lease-addresses", Clusters::leases);
        step("lease", Steps::lease);
        step("lease-not-granted", Steps::leaseNotGranted);
        step("lease-lost", Steps::leaseLost);
        step("lease-in-time", Steps::leaseInTime);
        String url = "http://127.0.0.1:" + args[1];
        step("lease-introduced", () -> Introductions.ofLeases(url));
        step("lease-asked-again", () -> Introductions.askedAgain(url));
        System.exit(failed ? 1 : 0);
    }

    static void step(String name, Step step) {
        try (Line first = new Line(port); Line second = new Line(port)) {
            other = first;
            eye = second;
            step.run();
            System.out.println("ok " + name);
        } catch (Throwable why) {
            failed = true;
            System.out.println("not ok " + name + ": " + why.toString().replace('\n', ' '));
            why.printStackTrace();
        }
    }

    static void skip(String name, String reason) {
        System.out.println("skip " + name + ": " + reason);
    }

    static void acquire() throws Exception {
        Guard first = locks.acquire("acquire", SOON);
        Check.equal("acquire", first.name());
        Check.equal(Long.toString(first.session()), eye.ask("IS_USED_LOCK acquire"));
        Check.that(first.held() && first.why().isEmpty(), "it is held");
        Check.that(first.release(), "it was held until now");
        Check.that(eye.isFree("acquire"), "it is free");
        Check.that(!first.held() && first.release(), "a second release says the same");
        try (Guard second = locks.acquire("acquire")) {
            Check.that(second.fencingToken() > first.fencingToken(), "the token is greater");
        }
        Check.that(!first.lost().isDone(), "nothing was lost");
    }

    static void tryLock() throws Exception {
        other.take("try-lock");
        long start = System.nanoTime();
        Check.equal(Optional.empty(), locks.tryLock("try-lock"));
        Check.that(Check.secondsSince(start) < 1, "it says so at once");
        other.free("try-lock");
        try (Guard guard = locks.tryLock("try-lock").orElseThrow()) {
            Check.that(guard.held(), "it is held");
        }
        try (Guard guard = locks.tryLock("try-lock", true).orElseThrow()) {
            Check.that(locks.tryLock("try-lock", true).orElseThrow().release(), "it is shared with " + guard);
        }
        Check.that(eye.isFree("try-lock"), "it is free");
    }

    static void nothingIsNoBlock() throws Exception {
        Compiler.accepts("try (var guard = locks.tryLock(\"x\").orElseThrow()) { guard.held(); }");
        Compiler.refuses("try (var guard = locks.tryLock(\"x\")) { guard.hashCode(); }");
    }

    static void notGranted() throws Exception {
        other.take("not-granted");
        TimeoutException error = Check.thrown(NotGranted.class, () -> locks.acquire("not-granted", SOON));
        Check.that(error.getMessage().contains("0.2 s"), error.getMessage());
        Check.equal(0, eye.waiters("not-granted"));
    }

    static void bodyNeedsTheLock() throws Exception {
        var runs = new AtomicInteger();
        other.take("needed");
        Check.thrown(NotGranted.class, () -> {
            try (Guard guard = locks.lock("needed", SOON)) {
                return runs.incrementAndGet() + guard.name();
            }
        });
        Check.thrown(NotGranted.class, () -> locks.lock("needed", SOON, guard -> runs.incrementAndGet()));
        Check.equal(0, runs.get());
    }

    static void bodyResult() throws Exception {
        Check.equal("result", locks.lock("result", SOON, guard -> guard.name()));
        Check.that(eye.isFree("result"), "it is free after a result");
        Check.thrown(ArithmeticException.class, () -> locks.lock("result", SOON, guard -> {
            throw new ArithmeticException();
        }));
        Check.that(eye.isFree("result"), "it is free after an error");
    }

    static void shared() throws Exception {
        try (Guard one = locks.lock("shared", SOON, true); Guard two = locks.lock("shared", SOON, true)) {
            Check.that(one.held() && two.held(), "both are held");
            Check.thrown(NotGranted.class, () -> locks.acquire("shared", SOON));
        }
        Check.that(eye.isFree("shared"), "it is free");
    }

    static void refused() throws Exception {
        var runs = new AtomicInteger();
        for (String name : List.of("", "n".repeat(65))) {
            Refused error = Check.thrown(Refused.class, () -> locks.lock(name, LONG, guard -> runs.incrementAndGet()));
            Check.equal("BAD_NAME", error.symbol());
        }
        Check.equal(0, runs.get());
        Odd.answers();
    }

    static void serverAway() throws Exception {
        int nobody;
        try (Stub stub = new Stub(peer -> {})) {
            nobody = stub.port();
        }
        var runs = new AtomicInteger();
        var away = new GetLock("127.0.0.1", nobody).retry(Duration.ofSeconds(1));
        long start = System.nanoTime();
        Check.thrown(IOException.class, () -> away.lock("away", GetLock.FOREVER, guard -> runs.incrementAndGet()));
        Check.that(Check.secondsSince(start) > 0.4 && Check.secondsSince(start) < 5, "the error comes after a second");
        Check.equal(0, runs.get());
    }

    static void killedWaiting() throws Exception {
        endedByTheServer("killed-waiting", "KILL", "KILLED");
    }

    static void interruptedWaiting() throws Exception {
        endedByTheServer("interrupted-waiting", "KILL QUERY", "INTERRUPTED");
    }

    static void endedByTheServer(String name, String verb, String symbol) throws Exception {
        other.take(name);
        var runs = new AtomicInteger();
        var wait = new Work<>(() -> locks.lock(name, LONG, guard -> runs.incrementAndGet()));
        Check.equal("1", eye.ask(verb + " " + eye.waiter(name)));
        Check.equal(symbol, Check.thrown(Refused.class, wait::result).symbol());
        Check.equal(0, runs.get());
        Check.equal(0, eye.waiters(name));
    }

    static void kill(Guard guard) throws Exception {
        Check.equal("1", eye.ask("KILL " + guard.session()));
    }

    static void lostInTheBody() throws Exception {
        var seen = new AtomicBoolean();
        Lost error = Check.thrown(Lost.class, () -> locks.lock("lost", SOON, guard -> {
            Check.that(!guard.lost().complete(null) && !guard.lost().cancel(true), "only the guard completes it");
            kill(guard);
            Check.equal("KILLED", guard.lost().get(20, TimeUnit.SECONDS).symbol());
            Check.that(!guard.held(), "it is not held");
            Check.equal("KILLED", guard.why().orElseThrow().symbol());
            seen.set(true);
            return "the result of work that was not protected";
        }));
        Check.equal("KILLED", error.symbol());
        Check.that(seen.get(), "the body was told");
        Odd.words();
    }

    static void lostAndRaised() throws Exception {
        var error = Check.thrown(ArithmeticException.class, () -> locks.lock("raised", SOON, guard -> {
            kill(guard);
            guard.lost().get(20, TimeUnit.SECONDS);
            throw new ArithmeticException();
        }));
        Check.equal(Lost.class, error.getSuppressed()[0].getClass());
        // The body may throw the loss itself.
        Lost lost = Check.thrown(Lost.class, () -> locks.lock("raised", SOON, guard -> {
            kill(guard);
            throw guard.lost().get(20, TimeUnit.SECONDS);
        }));
        Check.equal("KILLED", lost.symbol());
    }

    static void releaseAfterLoss() throws Exception {
        Guard guard = locks.acquire("released", SOON);
        kill(guard);
        Check.that(!guard.release(), "it was lost");
        Check.that(!guard.release() && !guard.held(), "and it stays lost");
        Check.equal("KILLED", guard.why().orElseThrow().symbol());
        lossAfterRelease();
    }

    /** A server that stops ends the connection right behind its answer. */
    static void lossAfterRelease() throws Exception {
        try (Stub stub = new Stub(peer -> {
            for (String line = peer.read(); !line.startsWith("RELEASE"); line = peer.read()) {
                if (line.equals("KEEPALIVE")) peer.say("KEEPALIVE left=25.000");
                else if (!peer.answersHello(line)) peer.say(line.startsWith("FENCING_TOKEN") ? "42" : "1");
            }
            peer.say("1\nERROR SHUTDOWN the server is stopping");
        })) {
            var stubbed = new GetLock("127.0.0.1", stub.port());
            for (int i = 0; i < 200; i++) Check.that(stubbed.acquire("released").release(), "it was held until now");
        }
    }

    static void guardAsBlock() throws Exception {
        Guard free = locks.acquire("block", SOON);
        try (free) {
            Check.that(!eye.isFree("block"), "it is held");
        }
        Check.that(eye.isFree("block"), "it is free");
        Guard lost = locks.acquire("block", SOON);
        Check.thrown(Lost.class, () -> {
            try (lost) {
                kill(lost);
                return "no error";
            }
        });
    }

    static void endedWhileWaiting() throws Exception {
        other.take("ended");
        var runs = new AtomicInteger();
        var wait = new Work<>(() -> locks.lock("ended", GetLock.FOREVER, guard -> runs.incrementAndGet()));
        eye.waiter("ended");
        long start = System.nanoTime();
        wait.interrupt();
        Check.thrown(InterruptedException.class, wait::result);
        Check.inTime("an empty queue", () -> eye.waiters("ended") == 0);
        Check.that(Check.secondsSince(start) < 2, "it leaves at once");
        other.free("ended");
        Check.that(eye.isFree("ended"), "it is free");
        Check.equal(0, runs.get());
        endedOfTheSilent();
    }

    /** Of a server that does not even say hello, and of one that is away. */
    static void endedOfTheSilent() throws Exception {
        int gone;
        try (Stub stub = new Stub(Stub.Peer::readAll)) {
            gone = stub.port();
            var silent = new Work<>(() -> new GetLock("127.0.0.1", stub.port()).acquire("ended"));
            Check.inTime("a connection", () -> stub.connections.get() == 1);
            silent.interrupt();
            Check.thrown(InterruptedException.class, silent::result);
            Check.inTime("a closed connection", () -> stub.closed.get() == 1);
        }
        var away = new Work<>(() -> new GetLock("127.0.0.1", gone).acquire("ended"));
        Thread.sleep(100);
        away.interrupt();
        Check.thrown(InterruptedException.class, away::result);
    }

    static void endedAsGranted() throws Exception {
        for (int i = 0; i < 20; i++) {
            other.take("as-granted");
            var wait = new Work<>(() -> locks.lock("as-granted", GetLock.FOREVER, Guard::session));
            eye.waiter("as-granted");
            other.send("RELEASE_LOCK as-granted");
            if (i > 0) Thread.sleep(0, 50_000 * i);
            wait.interrupt();
            Check.equal("1", other.read());
            try {
                wait.result();
            } catch (InterruptedException interrupted) {
                // Either may come first.
            }
            Check.inTime("a free lock", () -> eye.isFree("as-granted"));
        }
    }

    static void endedWhileHolding() throws Exception {
        var isInside = new AtomicBoolean();
        var hold = new Work<>(() -> locks.lock("ended-holding", SOON, guard -> {
            isInside.set(true);
            Thread.sleep(60_000);
            return guard;
        }));
        Check.inTime("a body", isInside::get);
        hold.interrupt();
        Check.thrown(InterruptedException.class, hold::result);
        Check.that(eye.isFree("ended-holding"), "it is free");
    }

    static void closeOnExec() throws Exception {
        try (var child = new Outlive(port, "exec")) {
            Check.that(!eye.isFree("exec"), "the child holds it");
            child.kill();
            Check.inTime("a free lock", () -> eye.isFree("exec"));
            Check.that(child.commandLives(), "its command lives on");
        }
    }

    static void forever() throws Exception {
        var waits = List.<Callable<? extends AutoCloseable>>of(
            () -> locks.acquire("forever"),
            () -> locks.acquire("forever", null),
            () -> locks.acquire("forever", GetLock.FOREVER),
            () -> locks.acquire("forever", Duration.ofSeconds(-1)),
            () -> locks.acquire("forever", Duration.ofSeconds(Long.MIN_VALUE)),
            () -> locks.acquire("forever", Duration.ofSeconds(Long.MAX_VALUE, 999_999_999)),
            () -> locks.acquire("forever", Duration.ofDays(36_500)),
            () -> leases.acquire("forever"),
            () -> leases.acquire("forever", Duration.ofSeconds(-1))
        );
        for (var wait : waits) {
            other.take("forever");
            var work = new Work<>(() -> released(wait));
            eye.waiter("forever");
            Check.that(work.isWaiting(), "it waits");
            other.free("forever");
            work.result();
            Check.that(eye.isFree("forever"), "it is free");
        }
    }

    static boolean released(Callable<? extends AutoCloseable> take) throws Exception {
        take.call().close();
        return true;
    }

    static void wrongTimeouts() throws Exception {
        Compiler.accepts("locks.acquire(\"x\", Duration.ofSeconds(10));");
        for (String wrong : List.of("Double.NaN", "10", "1e300", "\"10\"", "true", "new Object()")) {
            Compiler.refuses("locks.acquire(\"x\", " + wrong + ");");
            Compiler.refuses("leases.acquire(\"x\", " + wrong + ");");
        }
        Check.thrown(IllegalArgumentException.class, () -> locks.stopWithin(Duration.ofSeconds(-1)));
        Check.thrown(IllegalArgumentException.class, () -> locks.retry(Duration.ofNanos(-1)));
        Check.thrown(IllegalArgumentException.class, () -> Leases.options().ttl(Duration.ZERO));
        try (Stub stub = new Stub(peer -> {})) {
            var stubbed = new Leases("http://127.0.0.1:" + stub.port()).stopWithin(Duration.ofSeconds(45));
            Check.thrown(IllegalArgumentException.class, () -> stubbed.acquire("x"));
            Check.equal(0, stub.connections.get());
        }
    }

    static void wrongArguments() throws Exception {
        var swapped = List.of("Duration.ZERO, \"x\"", "true, Duration.ZERO", "\"x\", true, Duration.ZERO");
        var noName = List.of("10", "new byte[1]", "'x'", "Duration.ZERO");
        for (String wrong : Stream.concat(swapped.stream(), noName.stream()).toList()) {
            Compiler.refuses("locks.acquire(" + wrong + ");");
            Compiler.refuses("leases.acquire(" + wrong + ");");
        }
        Compiler.refuses("new GetLock(3305, \"127.0.0.1\");");
        try (Stub stub = new Stub(peer -> {})) {
            var stubbed = new GetLock("127.0.0.1", stub.port());
            Check.thrown(NullPointerException.class, () -> stubbed.acquire(null, SOON));
            Check.thrown(IllegalArgumentException.class, () -> stubbed.acquire("half \ud83d", SOON));
            Check.equal(0, stub.connections.get());
        }
    }

    /** Grants, and answers three questions after a delay. Remembers when the third came. */
    static Stub promising(int seconds, long delay, AtomicLong thirdAt) throws IOException {
        return new Stub(peer -> {
            int asked = 0;
            while (true) {
                String line = peer.read();
                if (peer.answersHello(line)) continue;
                if (line.equals("KEEPALIVE")) {
                    if (++asked > 3) continue;
                    if (asked == 3) thirdAt.set(System.nanoTime());
                    Thread.sleep(delay);
                    peer.say("KEEPALIVE left=" + seconds + ".000 spare=7");
                } else {
                    peer.say(line.startsWith("FENCING_TOKEN") ? "42" : "1");
                }
            }
        });
    }

    static void toldInTime() throws Exception {
        var third = new AtomicLong();
        try (Stub stub = promising(1, 0, third)) {
            Guard guard = new GetLock("127.0.0.1", stub.port()).acquire("told", SOON);
            Lost lost = guard.lost().get(20, TimeUnit.SECONDS);
            double seconds = Check.secondsSince(third.get());
            Check.that(seconds > 0.4 && seconds < 1, "it is told " + seconds + " s after the question");
            Check.that(!guard.held() && lost.symbol() == null, "it is not held");
            Check.that(!guard.release(), "it was lost");
            Check.inTime("a closed connection", () -> stub.closed.get() == 1);
        }
        countedFromTheQuestion();
    }

    /** Answers that come late do not make the promise longer. */
    static void countedFromTheQuestion() throws Exception {
        var third = new AtomicLong();
        try (Stub stub = promising(2, 500, third)) {
            var locks = new GetLock("127.0.0.1", stub.port()).stopWithin(Duration.ofMillis(300));
            locks.acquire("told", LONG).lost().get(20, TimeUnit.SECONDS);
            double seconds = Check.secondsSince(third.get());
            Check.that(seconds > 1.4 && seconds < 2, "it is told " + seconds + " s after the question");
            locks.stopWithin(Duration.ofMillis(1600));
            Check.thrown(IllegalArgumentException.class, () -> locks.acquire("told", LONG));
        }
    }

    static void heldInTime() throws Exception {
        var third = new AtomicLong();
        try (Stub stub = promising(1, 0, third)) {
            Guard guard = new GetLock("127.0.0.1", stub.port()).stopWithin(Duration.ZERO).acquire("held", SOON);
            Check.that(guard.held(), "it is held at first");
            Thread.sleep(500);
            Check.that(guard.held(), "it is held by the answers");
            Check.inTime("a third question", () -> third.get() > 0);
            Check.inTime("a second after it", () -> Check.secondsSince(third.get()) > 1);
            Check.that(guard.lost().isDone(), "the second is over");
            Check.that(!guard.held() && guard.why().isPresent(), "it tells why");
        }
    }

    static void openToTheEnd() throws Exception {
        double late = closedAfterLoss(stub -> Check.inTime("a closed connection", () -> stub.closed.get() == 1));
        Check.that(late > 0.9, "it stays open while the body goes on; it is closed " + late + " s after the question");
        double soon = closedAfterLoss(stub -> {});
        Check.that(soon < 0.9, "it is closed at the body's end, not " + soon + " s after the question");
    }

    /** What a body does that has lost its lock. */
    interface Rest {
        void run(Stub stub) throws Exception;
    }

    /** When the stub sees the end of the connection, in seconds from the third question on. */
    static double closedAfterLoss(Rest rest) throws Exception {
        var third = new AtomicLong();
        try (Stub stub = promising(1, 0, third)) {
            Check.thrown(Lost.class, () -> new GetLock("127.0.0.1", stub.port()).lock("open", SOON, guard -> {
                guard.lost().get(20, TimeUnit.SECONDS);
                rest.run(stub);
                return null;
            }));
            Check.inTime("a closed connection", () -> stub.closed.get() == 1);
            return Check.seconds(third.get(), stub.closedAt.get());
        }
    }

    static void lateGrant() throws Exception {
        var asked = new AtomicInteger();
        try (Stub stub = new Stub(peer -> {
            boolean isFirst = true;
            while (true) {
                String line = peer.read();
                if (peer.answersHello(line)) continue;
                if (line.equals("KEEPALIVE")) {
                    asked.incrementAndGet();
                    if (isFirst) peer.say("KEEPALIVE left=1.000");
                    isFirst = false;
                } else if (line.startsWith("GET_LOCK")) {
                    Thread.sleep(1200);
                    peer.say("1");
                } else {
                    peer.say("42");
                }
            }
        })) {
            var stubbed = new GetLock("127.0.0.1", stub.port());
            Check.thrown(IOException.class, () -> stubbed.acquire("late", Duration.ofMillis(1500)));
            Check.equal(2, asked.get());
            Check.inTime("a closed connection", () -> stub.closed.get() == 1);
            Check.equal(1, stub.connections.get());
        }
    }

    static void questionsInAWait() throws Exception {
        try (Stub stub = new Stub(peer -> {
            int questions = 0;
            boolean isGranted = false;
            while (true) {
                String line = peer.read();
                if (peer.answersHello(line)) continue;
                if (line.equals("KEEPALIVE") && !isGranted) questions++;
                else if (line.equals("KEEPALIVE")) peer.say("KEEPALIVE left=1.000");
                if (!line.startsWith("FENCING_TOKEN")) continue;
                // All has been sent ahead. The lock is granted at last.
                while (questions-- > 0) peer.say("KEEPALIVE left=1.000");
                Thread.sleep(300);
                peer.say("1\n42");
                isGranted = true;
            }
        })) {
            Guard guard = new GetLock("127.0.0.1", stub.port()).acquire("questions", LONG);
            Check.equal(42L, guard.fencingToken());
            Thread.sleep(1500);
            Check.that(guard.held(), "it is kept");
        }
    }

    static Leases.Options second() {
        return Leases.options().ttl(Duration.ofSeconds(1)).client("a test").note("to \"see\"");
    }

    static void lease() throws Exception {
        // Most of the second is for heartbeats that a busy machine sends late.
        leases.stopWithin(Duration.ofMillis(50));
        Lease lease = leases.acquire("lease", SOON, second());
        leases.stopWithin(null);
        long start = System.nanoTime();
        Check.that(lease.fencingToken() > 0 && lease.leaseToken().length() == 32, "it has tokens");
        while (Check.secondsSince(start) < 3) {
            Check.that(lease.held(), "it is kept; " + lease.why());
            Check.that(!eye.isFree("lease"), "others see it");
            Thread.sleep(100);
        }
        Check.that(lease.release(), "it was held until now");
        Check.that(eye.isFree("lease") && !lease.held() && lease.why().isEmpty(), "it is free");
        try (Lease waited = leaseAfterWait("lease")) {
            Check.that(waited.held(), "it is held after a wait");
        }
        leaseEndedWhileWaiting();
    }

    /** It waits for longer than its time: the lease cannot be counted from when it was asked for. */
    static Lease leaseAfterWait(String name) throws Exception {
        other.take(name);
        var wait = new Work<>(() -> leases.acquire(name, LONG, second()));
        eye.waiter(name);
        Thread.sleep(1200);
        other.free(name);
        return wait.result();
    }

    static void leaseEndedWhileWaiting() throws Exception {
        for (int i = 0; i < 10; i++) {
            other.take("lease-ended");
            var wait = new Work<>(() -> leases.lock("lease-ended", GetLock.FOREVER, lease -> lease.name()));
            eye.waiter("lease-ended");
            if (i > 0) other.send("RELEASE_LOCK lease-ended");
            if (i > 1) Thread.sleep(0, 100_000 * i);
            wait.interrupt();
            long start = System.nanoTime();
            if (i == 0) Check.inTime("an empty queue", () -> eye.waiters("lease-ended") == 0);
            Check.equal("1", i == 0 ? other.ask("RELEASE_LOCK lease-ended") : other.read());
            try {
                wait.result();
            } catch (InterruptedException interrupted) {
                // It may have been granted before.
            }
            Check.inTime("a free lock", () -> eye.isFree("lease-ended"));
            Check.that(Check.secondsSince(start) < 5, "it is free before the end of the lease");
        }
    }

    static void leaseNotGranted() throws Exception {
        other.take("lease-needed");
        var runs = new AtomicInteger();
        Check.thrown(NotGranted.class, () -> leases.lock("lease-needed", SOON, lease -> runs.incrementAndGet()));
        Check.equal(Optional.empty(), leases.tryLock("lease-needed"));
        Check.equal("BadRequest", Check.thrown(Refused.class, () -> leases.tryLock("")).symbol());
        Check.equal(0, runs.get());
        Odd.grants();
    }

    static void leaseLost() throws Exception {
        var symbol = new AtomicInteger();
        Lost error = Check.thrown(Lost.class, () -> {
            try (Lease lease = leases.lock("lease-lost", SOON, second())) {
                Check.equal("1", eye.ask("KILL " + eye.ask("IS_USED_LOCK lease-lost")));
                Lost lost = lease.lost().get(20, TimeUnit.SECONDS);
                Check.that(!lease.held() && lease.why().orElseThrow() == lost, "it is not held");
                return symbol.incrementAndGet();
            }
        });
        Check.equal("NotFound", error.symbol());
        Check.equal(1, symbol.get());
    }

    static void leaseInTime() throws Exception {
        var beats = new ArrayBlockingQueue<Long>(100);
        try (Stub stub = new Stub(peer -> {
            String path = peer.request();
            if (path.endsWith("heartbeat")) beats.add(System.nanoTime());
            if (path.endsWith("acquire") || beats.size() == 1) {
                peer.json("{\"success\":true,\"status\":\"Acquired\",\"lockToken\":\"secret\",\"fencingToken\":42}");
            } else {
                peer.read();
            }
        })) {
            Lease lease = new Leases("http://127.0.0.1:" + stub.port()).acquire("in-time", SOON, second());
            Check.equal(42L, lease.fencingToken());
            Lost lost = lease.lost().get(20, TimeUnit.SECONDS);
            double seconds = Check.secondsSince(beats.take());
            Check.that(seconds > 0.6 && seconds < 1, "it is told " + seconds + " s after the heartbeat");
            Check.that(!lease.held() && lost.symbol() == null, "it is not held");
            Check.that(beats.size() >= 1, "it was tried again");
        }
        Odd.heartbeats();
    }

    /** Something that a thread does, and what came of it. */
    static final class Work<T> {
        private final CompletableFuture<T> result = new CompletableFuture<>();
        private final Thread thread;

        Work(Callable<T> task) {
            thread = new Thread(() -> {
                try {
                    result.complete(task.call());
                } catch (Throwable error) {
                    result.completeExceptionally(error);
                }
            });
            thread.setDaemon(true);
            thread.start();
        }

        boolean isWaiting() {
            return !result.isDone();
        }

        void interrupt() {
            thread.interrupt();
        }

        T result() throws Exception {
            try {
                return result.get(20, TimeUnit.SECONDS);
            } catch (ExecutionException failed) {
                throw failed.getCause() instanceof Exception error ? error : failed;
            }
        }
    }
}
