package getlock;

import java.io.IOException;
import java.net.ProtocolException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;

/**
 * Locks of getlockd, by its line protocol.
 *
 * <pre>{@code
 * var locks = new GetLock("127.0.0.1", 3305);
 * try (var guard = locks.lock("nightly", Duration.ofSeconds(10))) {
 *     guard.lost().thenAccept(why -> job.cancel());
 *     job.run(guard.fencingToken());
 * } catch (NotGranted others) {
 *     log.info("somebody else runs it");
 * }
 * }</pre>
 *
 * <p>Each guard has a connection of its own, and a thread that reads from it. While nothing is held, that is while
 * {@code lock} connects or waits, a connection that breaks is made again, and queues again at the end. A lock that was
 * lost never comes back by itself.
 *
 * <p><b>Timeouts.</b> A null, a negative one, {@link #FOREVER} and anything longer than a hundred years wait forever.
 * Zero tries once.
 *
 * <p><b>Interrupts.</b> {@link Thread#interrupt()} ends a wait at once: it leaves the queue and holds nothing, even if
 * the grant was on its way. While the lock is held, an interrupt frees nothing by itself: the end of the block does.
 *
 * <p>Objects of this class are safe for many threads, once their settings are made.
 */
public final class GetLock {
    /** A timeout that is never over. */
    public static final Duration FOREVER = Duration.ofSeconds(Long.MAX_VALUE);

    /** The share of the server's promise that the work has for stopping by default. */
    private static final double TO_STOP = 0.4;

    /** From this share on, a lock would be lost before it is asked for again. */
    private static final double TOO_LONG_TO_STOP = 0.8;

    private static final Pattern SESSION = Pattern.compile("^HELLO .*\\bsession=(\\d+)");

    /** Reasons that pass. */
    private static final Set<String> PASSING = Set.of("SHUTDOWN", "LIMIT", "UNAVAILABLE");

    private static final long FIRST_PAUSE = TimeUnit.MILLISECONDS.toNanos(50);
    private static final long LONGEST_PAUSE = TimeUnit.SECONDS.toNanos(2);
    private static final long SHORTEST_ATTEMPT = TimeUnit.SECONDS.toNanos(1);

    private final Cluster<Address> cluster;
    private volatile String login;
    private volatile SSLContext tls;
    private volatile Duration retry = Duration.ofSeconds(30);
    private volatile Duration stopWithin;
    private volatile Identity identity = Identity.DEFAULT;

    /** A server on this machine, on the port that it has by default. */
    public GetLock() {
        this("127.0.0.1", 3305);
    }

    /**
     * A server. Nothing is connected before a lock is asked for.
     *
     * @param host its name or address; of a cluster several, as {@code a:3305,b:3305}
     * @param port its port of the line protocol, and that of each host without one
     */
    public GetLock(String host, int port) {
        this(List.of(Objects.requireNonNull(host, "the host is null; give a name or an address")), port);
    }

    /**
     * A cluster. If a node does not answer or cannot serve, the next one is tried. The last good one is the first.
     *
     * @param addresses the names or addresses of its nodes, each with a port or for port 3305
     */
    public GetLock(List<String> addresses) {
        this(addresses, 3305);
    }

    private GetLock(List<String> addresses, int port) {
        if (port < 1 || port > 65535) throw new IllegalArgumentException("a port is from 1 to 65535, not " + port);
        cluster = new Cluster<>(Address.of(addresses, port));
    }

    /**
     * Logs in, where the server has users.
     *
     * @param user the name
     * @param password the password; without TLS it can be read on the way
     * @return this
     */
    public GetLock user(String user, String password) {
        login = "AUTH " + Texts.quoted(user) + " " + Texts.quoted(password);
        return this;
    }

    /**
     * Speaks TLS. The server's certificate must be for the host.
     *
     * @param context the authorities to trust, such as {@link SSLContext#getDefault()}
     * @return this
     */
    public GetLock tls(SSLContext context) {
        tls = context;
        return this;
    }

    /**
     * For how long a server that is away is tried.
     *
     * @param time 30 s by default; zero tries once, and null or {@link #FOREVER} tries forever
     * @return this
     * @throws IllegalArgumentException if it is negative
     */
    public GetLock retry(Duration time) {
        retry = Checks.notNegative("retry", time);
        return this;
    }

    /**
     * What the lists of the server call this client.
     *
     * @param text up to 256 characters; null for {@code user@host[pid] program}, which is the default; empty if the
     *     client should not introduce itself
     * @return this
     * @throws IllegalArgumentException if it is longer
     */
    public GetLock name(String text) {
        identity = new Identity(text, identity.note());
        return this;
    }

    /**
     * A line for people, which the lists of the server show beside the name.
     *
     * @param text up to 256 characters; null for none, which is the default
     * @return this
     * @throws IllegalArgumentException if it is longer
     */
    public GetLock note(String text) {
        identity = new Identity(identity.name(), text);
        return this;
    }

    /**
     * The time that your work needs to stop. A loss is reported so long before others can have the lock.
     *
     * @param time less than four fifths of what the server promises, which is its {@code --keepalive}; null for two
     *     fifths of it, which is the default. In a cluster it is at most three tenths of the longest promise, and a
     *     fifth of it by default
     * @return this
     * @throws IllegalArgumentException if it is negative; {@code lock} throws it if the time is too long
     */
    public GetLock stopWithin(Duration time) {
        stopWithin = Checks.stopWithin(time);
        return this;
    }

    /**
     * Waits for a lock, forever. See {@link #lock(String, Duration, boolean)}.
     *
     * @param name the name of the lock
     * @return the lock that is now held
     * @throws NotGranted never
     * @throws IOException if the server refuses, or is away for too long
     * @throws InterruptedException if the thread was interrupted
     */
    public Guard lock(String name) throws IOException, NotGranted, InterruptedException {
        return lock(name, FOREVER, false);
    }

    /**
     * Waits for a lock. See {@link #lock(String, Duration, boolean)}.
     *
     * @param name the name of the lock
     * @param timeout how long to wait
     * @return the lock that is now held
     * @throws NotGranted if others held the lock for the whole timeout
     * @throws IOException if the server refuses, or is away for too long
     * @throws InterruptedException if the thread was interrupted
     */
    public Guard lock(String name, Duration timeout) throws IOException, NotGranted, InterruptedException {
        return lock(name, timeout, false);
    }

    /**
     * Waits for a lock, as the head of a try-with-resources statement: its body never runs without the lock.
     *
     * @param name the name of the lock, of 1 to 64 characters; case does not matter
     * @param timeout how long to wait
     * @param shared whether others may share the lock
     * @return the lock that is now held
     * @throws NotGranted if others held the lock for the whole timeout
     * @throws Refused if the server refuses
     * @throws IOException if the server is away for too long
     * @throws InterruptedException if the thread was interrupted
     * @throws IllegalArgumentException if the name is not valid Unicode, or {@link #stopWithin} is too long
     */
    public Guard lock(String name, Duration timeout, boolean shared)
            throws IOException, NotGranted, InterruptedException {
        return take(name, new Limit(timeout), shared);
    }

    /**
     * Runs the body with the lock, and frees the lock at its end.
     *
     * @param <T> the result
     * @param <X> what the body may throw
     * @param name the name of the lock
     * @param timeout how long to wait
     * @param body what to do with the lock; it does not run without
     * @return the body's result
     * @throws X if the body throws it
     * @throws Lost if the lock was lost, and the body threw nothing itself
     * @throws NotGranted if others held the lock for the whole timeout
     * @throws IOException if the server refuses, or is away for too long
     * @throws InterruptedException if the thread was interrupted
     */
    public <T, X extends Exception> T lock(String name, Duration timeout, Body<? super Guard, T, X> body)
            throws X, IOException, NotGranted, InterruptedException {
        Objects.requireNonNull(body, "the body is null; give what to do with the lock");
        try (Guard guard = lock(name, timeout)) {
            return body.run(guard);
        }
    }

    /**
     * The same as {@link #lock(String)}, for a guard that another block or thread releases.
     *
     * @param name the name of the lock
     * @return the lock that is now held
     * @throws NotGranted never
     * @throws IOException if the server refuses, or is away for too long
     * @throws InterruptedException if the thread was interrupted
     */
    public Guard acquire(String name) throws IOException, NotGranted, InterruptedException {
        return lock(name);
    }

    /**
     * The same as {@link #lock(String, Duration)}, for a guard that another block or thread releases.
     *
     * @param name the name of the lock
     * @param timeout how long to wait
     * @return the lock that is now held
     * @throws NotGranted if others held the lock for the whole timeout
     * @throws IOException if the server refuses, or is away for too long
     * @throws InterruptedException if the thread was interrupted
     */
    public Guard acquire(String name, Duration timeout) throws IOException, NotGranted, InterruptedException {
        return lock(name, timeout);
    }

    /**
     * The same as {@link #lock(String, Duration, boolean)}, for a guard that another block or thread releases.
     *
     * @param name the name of the lock
     * @param timeout how long to wait
     * @param shared whether others may share the lock
     * @return the lock that is now held
     * @throws NotGranted if others held the lock for the whole timeout
     * @throws IOException if the server refuses, or is away for too long
     * @throws InterruptedException if the thread was interrupted
     */
    public Guard acquire(String name, Duration timeout, boolean shared)
            throws IOException, NotGranted, InterruptedException {
        return lock(name, timeout, shared);
    }

    /**
     * Takes a lock if it is free. See {@link #tryLock(String, boolean)}.
     *
     * @param name the name of the lock
     * @return the lock that is now held; empty if others hold it
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public Optional<Guard> tryLock(String name) throws IOException, InterruptedException {
        return tryLock(name, false);
    }

    /**
     * Takes a lock if it is free, and does not wait for it.
     *
     * @param name the name of the lock
     * @param shared whether others may share the lock
     * @return the lock that is now held; empty if others hold it
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public Optional<Guard> tryLock(String name, boolean shared) throws IOException, InterruptedException {
        try {
            return Optional.of(take(name, new Limit(Duration.ZERO), shared));
        } catch (NotGranted others) {
            return Optional.empty();
        }
    }

    /** Nothing is held yet, so a wait that breaks may connect and queue again. */
    private Guard take(String name, Limit limit, boolean shared) throws IOException, NotGranted, InterruptedException {
        Checks.name(name);
        Limit away = new Limit(retry);
        List<Address> round = cluster.round();
        for (int attempt = 0; ; ) {
            var attempted = new Attempt(round.get(0), name, limit, shared);
            try {
                return attempted.guard(Math.max(SHORTEST_ATTEMPT, Math.min(cluster.firstAnswerTime(), away.left())));
            } catch (IOException error) {
                if (attempted.wasAnswered) away = new Limit(retry);
                round.remove(0);
                if (attempted.passes(error) && !round.isEmpty()) continue; // each has its turn before a pause
                round = cluster.round();
                long pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE << Math.min(attempt++, 6));
                pause = (long) (pause * ThreadLocalRandom.current().nextDouble(0.5, 1));
                if (!attempted.passes(error) || Math.min(limit.left(), away.left()) < pause) throw told(error);
                TimeUnit.NANOSECONDS.sleep(pause);
            }
        }
    }

    /** With the stack of the thread that has asked. */
    private IOException told(IOException error) {
        if (error instanceof Refused refused) return new Refused(refused);
        return new IOException("no lock could be taken from the server at " + cluster + ": " + Texts.of(error)
            + "; check that getlockd runs there, and that this is the port of its line protocol", error);
    }

    /** One connection, up to a guard. */
    private final class Attempt {
        private final Address address;
        private final String name;
        private final Limit limit;
        private final boolean shared;
        private final Connection connection;
        private final String introduction = identity.line();
        private boolean wasAnswered;

        Attempt(Address address, String name, Limit limit, boolean shared) {
            this.address = address;
            this.name = name;
            this.limit = limit;
            this.shared = shared;
            var term = new Term(cluster, stopWithin, TO_STOP, TOO_LONG_TO_STOP);
            connection = new Connection(new Wire(address, tls, cluster.connectTime()), term);
        }

        /** What is not a getlockd server stays so. One that has said hello can do better on another connection. */
        boolean passes(IOException error) {
            if (error instanceof Refused refused) return PASSING.contains(refused.symbol());
            return wasAnswered || !(error instanceof ProtocolException);
        }

        /** Whatever else happens, the connection is cut, and with it the wait or the grant. */
        Guard guard(long patience) throws IOException, NotGranted, InterruptedException {
            boolean isHeld = false;
            try {
                Connection.await(connection.opened(), patience);
                Guard guard = granted(connection.ask(lines()), patience);
                guard.start();
                isHeld = true;
                return guard;
            } finally {
                if (!isHeld) connection.cut();
            }
        }

        /** All at once: a lock that is free costs one round trip. */
        private List<String> lines() {
            String quoted = Texts.quoted(name);
            var lines = new ArrayList<String>();
            if (login != null) lines.add(login);
            if (introduction != null) lines.add(introduction);
            lines.add("HELLO");
            lines.add(Connection.KEEPALIVE);
            lines.add((shared ? "GET_SHARED_LOCK " : "GET_LOCK ") + quoted + " " + limit.words());
            lines.add("FENCING_TOKEN " + quoted);
            return lines;
        }

        private Guard granted(List<CompletableFuture<String>> answers, long patience)
                throws IOException, NotGranted, InterruptedException {
            int hello = answers.size() - 4;
            int introduced = introduction == null ? hello : hello - 1;
            if (introduced > 0) Connection.await(answers.get(0), patience);
            if (introduced < hello) introduced(answers.get(introduced), patience);
            long session = session(Connection.await(answers.get(hello), patience));
            wasAnswered = true;
            cluster.served(address);
            String granted = waited(answers.get(hello + 2), answers.get(hello + 1));
            if (granted.equals("0")) throw new NotGranted(name, limit);
            if (!granted.equals("1")) throw new ProtocolException("the server answered " + granted);
            long token = number(Connection.await(answers.get(hello + 3), Wire.ANSWER_TIME));
            Term term = connection.term();
            if (!term.begin()) promisedAgain(term);
            return new Guard(connection, name, session, token);
        }

        /**
         * In a cluster it asks whenever a promise is over whether the leader is still there, since TCP alone would find
         * that out much later.
         */
        private String waited(CompletableFuture<String> answer, CompletableFuture<String> promise)
                throws IOException, InterruptedException {
            Limit patience = limit.with(Duration.ofNanos(Wire.ANSWER_TIME));
            Term term = connection.term();
            Connection.settle(CompletableFuture.anyOf(promise, answer), patience.left());
            while (term.isOfCluster() && !answer.isDone() && patience.left() > 0) {
                long look = term.safe();
                if (look > 0) Connection.settle(answer, Math.min(look, patience.left()));
                else Connection.await(connection.ask(Connection.KEEPALIVE), term.longest());
            }
            return Connection.await(answer, patience.left());
        }

        private void introduced(CompletableFuture<String> answer, long patience)
                throws IOException, InterruptedException {
            try {
                String said = Connection.await(answer, patience);
                if (!said.equals("1")) throw new ProtocolException("the server answered " + said);
            } catch (Refused refused) {
                // An older server does not know the command, and shows no names.
                if (!"UNKNOWN_COMMAND".equals(refused.symbol())) throw refused;
            }
        }

        /** A grant that came late may have ended already: the server must promise it once more, in time. */
        private void promisedAgain(Term term) throws IOException, InterruptedException {
            Connection.await(connection.ask(Connection.KEEPALIVE), term.patience(Wire.ANSWER_TIME));
            if (!term.begin()) throw new IOException("the server granted the lock and did not promise it in time");
        }

        private long session(String reply) throws ProtocolException {
            Matcher session = SESSION.matcher(reply);
            if (session.find()) return number(session.group(1));
            throw new ProtocolException("it does not speak the line protocol of getlockd; it said " + reply);
        }

        private long number(String reply) throws ProtocolException {
            if (reply.matches("\\d{1,18}")) return Long.parseLong(reply);
            throw new ProtocolException("the server answered " + reply + " where a number was expected");
        }
    }
}
