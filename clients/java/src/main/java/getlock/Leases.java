package getlock;

import java.io.IOException;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;

/**
 * Locks of getlockd over HTTP, for programs that cannot keep a connection open. Each lock is a lease: heartbeats in the
 * background keep it, and it ends by itself when none has come for its time to live.
 *
 * <pre>{@code
 * var leases = new Leases("http://127.0.0.1:3308");
 * try (var lease = leases.lock("nightly", Duration.ofSeconds(10))) {
 *     job.run(lease.fencingToken());
 * }
 * }</pre>
 *
 * <p>Timeouts and interrupts are as for {@link GetLock}. Objects of this class are safe for many threads, once their
 * settings are made.
 */
public final class Leases {
    /** The share of its time to live that the work has for stopping by default. */
    private static final double TO_STOP = 0.2;

    /** From this share on, a lease would be lost before its next heartbeat. */
    private static final double TOO_LONG_TO_STOP = 2.0 / 3;

    /** An acquire that took longer than this share has no grant whose moment is known well enough. */
    private static final int ASKED_AT_ONCE = 5;

    private static final Set<Integer> FINAL = Set.of(400, 401, 403, 404, 409);
    private static final long PAUSE = TimeUnit.MILLISECONDS.toNanos(50);
    private static final long LONGEST_PAUSE = TimeUnit.SECONDS.toNanos(2);

    private final Cluster<Base> cluster;
    private volatile String authorization;
    private volatile SSLContext tls;
    private volatile Duration stopWithin;
    private volatile Duration retry = Duration.ofSeconds(30);
    private volatile Identity identity = Identity.DEFAULT;

    /** What a lease is, beside its name. It does not change: each method returns new options. */
    public static final class Options {
        private static final Duration SHORTEST = Duration.ofMillis(100);
        private static final Duration LONGEST = Duration.ofDays(365);
        private static final Options DEFAULT = new Options(Duration.ofSeconds(45), false, null, null);

        private final Duration ttl;
        private final boolean shared;
        private final String client;
        private final String note;

        private Options(Duration ttl, boolean shared, String client, String note) {
            this.ttl = ttl;
            this.shared = shared;
            this.client = client;
            this.note = note;
        }

        /**
         * The same with another time to live: for so long the lease runs from each heartbeat on.
         *
         * @param time 45 s by default; at least 0.1 s, and at most a day unless the server allows more
         * @return new options
         */
        public Options ttl(Duration time) {
            Objects.requireNonNull(time, "the ttl is null; give a time, such as 45 s");
            if (time.compareTo(SHORTEST) < 0 || time.compareTo(LONGEST) > 0) {
                throw new IllegalArgumentException("the ttl is " + time + "; give one from 0.1 s to a day");
            }
            return new Options(time, shared, client, note);
        }

        /**
         * The same for a lock that others may share.
         *
         * @param mayBeShared false by default
         * @return new options
         */
        public Options shared(boolean mayBeShared) {
            return new Options(ttl, mayBeShared, client, note);
        }

        /**
         * The same with a name for the client, which lists show.
         *
         * @param name up to 256 characters; null for that of {@link Leases#name}, which is the default
         * @return new options
         * @throws IllegalArgumentException if it is longer
         */
        public Options client(String name) {
            return new Options(ttl, shared, Identity.check("client", name), note);
        }

        /**
         * The same with a note, which lists show.
         *
         * @param text up to 256 characters; null for that of {@link Leases#note}, which is the default
         * @return new options
         * @throws IllegalArgumentException if it is longer
         */
        public Options note(String text) {
            return new Options(ttl, shared, client, Identity.check("note", text));
        }
    }

    /** {@return what holds by default: 45 s, exclusively, without a client or a note} */
    public static Options options() {
        return Options.DEFAULT;
    }

    /** A server on this machine, on the port that it has by default. */
    public Leases() {
        this("http://127.0.0.1:3308");
    }

    /**
     * A server. Nothing is connected before a lock is asked for.
     *
     * @param url such as {@code http://127.0.0.1:3308}; a path in it stands in front of the server's own. Those of the
     *     nodes of a cluster stand with commas between them
     */
    public Leases(String url) {
        this(List.of(url));
    }

    /**
     * A cluster. If a node does not answer or cannot serve, the next one is tried. The last good one is the first.
     *
     * @param urls of its nodes
     */
    public Leases(List<String> urls) {
        cluster = new Cluster<>(Base.of(urls));
    }

    /**
     * Logs in with a password, where the server has users.
     *
     * @param user the name
     * @param password the password; without TLS it can be read on the way
     * @return this
     */
    public Leases user(String user, String password) {
        if (user.contains(":")) throw new IllegalArgumentException("a user's name has no colon in HTTP");
        byte[] both = (Texts.unicode(user) + ":" + Texts.unicode(password)).getBytes(StandardCharsets.UTF_8);
        authorization = "Basic " + Base64.getEncoder().encodeToString(both);
        return this;
    }

    /**
     * Logs in with a token, where the server has users.
     *
     * @param token the token; without TLS it can be read on the way
     * @return this
     */
    public Leases token(String token) {
        if (!token.matches("[!-~]+")) {
            throw new IllegalArgumentException(
                "the token has characters that no token has; use it as getlockd printed it");
        }
        authorization = "Bearer " + token;
        return this;
    }

    /**
     * The authorities to trust, for a URL with {@code https}.
     *
     * @param context the authorities of the system by default
     * @return this
     */
    public Leases tls(SSLContext context) {
        if (context != null && !isHttps()) throw new IllegalArgumentException("TLS needs a URL that begins with https");
        tls = context;
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
    public Leases name(String text) {
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
    public Leases note(String text) {
        identity = new Identity(identity.name(), text);
        return this;
    }

    /**
     * For how long a server that is away is tried. A request whose answer was lost is repeated with the same id: it
     * gets the lease that was granted, or its place in the queue.
     *
     * @param time 30 s by default; zero tries once, and null or {@link GetLock#FOREVER} tries forever
     * @return this
     * @throws IllegalArgumentException if it is negative
     */
    public Leases retry(Duration time) {
        retry = Checks.notNegative("retry", time);
        return this;
    }

    /**
     * The time that your work needs to stop. A loss is reported so long before others can have the lock.
     *
     * @param time less than two thirds of the time to live; null for a fifth of it, which is the default
     * @return this
     * @throws IllegalArgumentException if it is negative; {@code lock} throws it if the time is too long
     */
    public Leases stopWithin(Duration time) {
        stopWithin = Checks.stopWithin(time);
        return this;
    }

    /**
     * Waits for a lock, forever. See {@link #lock(String, Duration, Options)}.
     *
     * @param name the name of the lock
     * @return the lease that now holds it
     * @throws NotGranted never
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public Lease lock(String name) throws IOException, NotGranted, InterruptedException {
        return lock(name, GetLock.FOREVER, options());
    }

    /**
     * Waits for a lock. See {@link #lock(String, Duration, Options)}.
     *
     * @param name the name of the lock
     * @param timeout how long to wait
     * @return the lease that now holds it
     * @throws NotGranted if others held the lock for the whole timeout
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public Lease lock(String name, Duration timeout) throws IOException, NotGranted, InterruptedException {
        return lock(name, timeout, options());
    }

    /**
     * Waits for a lock, as the head of a try-with-resources statement: its body never runs without the lock.
     *
     * @param name the name of the lock, of 1 to 64 characters; case does not matter
     * @param timeout how long to wait
     * @param options such as {@code Leases.options().ttl(Duration.ofSeconds(30))}
     * @return the lease that now holds it
     * @throws NotGranted if others held the lock for the whole timeout
     * @throws Refused if the server refuses
     * @throws IOException if the server is away
     * @throws InterruptedException if the thread was interrupted
     * @throws IllegalArgumentException if {@link #stopWithin} is too long for the time to live
     */
    public Lease lock(String name, Duration timeout, Options options)
            throws IOException, NotGranted, InterruptedException {
        return take(name, new Limit(timeout), options);
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
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public <T, X extends Exception> T lock(String name, Duration timeout, Body<? super Lease, T, X> body)
            throws X, IOException, NotGranted, InterruptedException {
        Objects.requireNonNull(body, "the body is null; give what to do with the lock");
        try (Lease lease = lock(name, timeout)) {
            return body.run(lease);
        }
    }

    /**
     * The same as {@link #lock(String)}, for a lease that another block or thread releases.
     *
     * @param name the name of the lock
     * @return the lease that now holds it
     * @throws NotGranted never
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public Lease acquire(String name) throws IOException, NotGranted, InterruptedException {
        return lock(name);
    }

    /**
     * The same as {@link #lock(String, Duration)}, for a lease that another block or thread releases.
     *
     * @param name the name of the lock
     * @param timeout how long to wait
     * @return the lease that now holds it
     * @throws NotGranted if others held the lock for the whole timeout
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public Lease acquire(String name, Duration timeout) throws IOException, NotGranted, InterruptedException {
        return lock(name, timeout);
    }

    /**
     * The same as {@link #lock(String, Duration, Options)}, for a lease that another block or thread releases.
     *
     * @param name the name of the lock
     * @param timeout how long to wait
     * @param options such as {@code Leases.options().ttl(Duration.ofSeconds(30))}
     * @return the lease that now holds it
     * @throws NotGranted if others held the lock for the whole timeout
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public Lease acquire(String name, Duration timeout, Options options)
            throws IOException, NotGranted, InterruptedException {
        return lock(name, timeout, options);
    }

    /**
     * Takes a lock if it is free. See {@link #tryLock(String, Options)}.
     *
     * @param name the name of the lock
     * @return the lease that now holds it; empty if others do
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public Optional<Lease> tryLock(String name) throws IOException, InterruptedException {
        return tryLock(name, options());
    }

    /**
     * Takes a lock if it is free, and does not wait for it.
     *
     * @param name the name of the lock
     * @param options such as {@code Leases.options().ttl(Duration.ofSeconds(30))}
     * @return the lease that now holds it; empty if others do
     * @throws IOException if the server refuses or is away
     * @throws InterruptedException if the thread was interrupted
     */
    public Optional<Lease> tryLock(String name, Options options) throws IOException, InterruptedException {
        try {
            return Optional.of(take(name, new Limit(Duration.ZERO), options));
        } catch (NotGranted others) {
            return Optional.empty();
        }
    }

    Cluster<Base> cluster() {
        return cluster;
    }

    /** A lease outlives the leader, so its own time bounds it. But what an old leader says does not count. */
    boolean takes(Exchange.Answer answer) {
        String term = answer.fields().getOrDefault("term", "");
        return !term.matches("[0-9]{1,18}") || cluster.takes(Long.parseLong(term), 0);
    }

    Exchange heartbeat(Base base, String name, String leaseToken, long ttl) {
        return post(base, "heartbeat", new Json().with("resourceName", name).with("lockToken", leaseToken)
            .with("ttlMs", TimeUnit.NANOSECONDS.toMillis(ttl)));
    }

    Exchange release(Base base, String name, String leaseToken) {
        return post(base, "release", new Json().with("resourceName", name).with("lockToken", leaseToken));
    }

    /** Whether the server has said that there is no such lease for this user. All else passes. */
    static boolean isFinal(Exchange.Answer answer) {
        return FINAL.contains(answer.code());
    }

    /** A request without an answer is sent again: the server knows it by its id. */
    private Lease take(String name, Limit limit, Options options) throws IOException, NotGranted, InterruptedException {
        Checks.name(name);
        term().renew(Clock.now(), options.ttl.toNanos()); // may be refused
        String client = options.client == null ? identity.shown() : options.client;
        String note = options.note == null ? identity.note() : options.note;
        String requestId = UUID.randomUUID().toString(); // as secret as the token of the lease
        Limit away = new Limit(retry);
        List<Base> round = cluster.round();
        for (int attempt = 0; ; ) {
            Base base = round.remove(0);
            Exchange exchange = post(base, "acquire", new Json().with("resourceName", name).with("clientId", client)
                .with("note", note).with("mode", options.shared ? "shared" : "exclusive")
                .with("waitMs", limit.millis()).with("ttlMs", options.ttl.toMillis()).with("requestId", requestId));
            boolean isOver = true;
            try {
                Lease lease = granted(name, limit, options.ttl.toNanos(), exchange, base);
                isOver = false;
                return lease;
            } catch (IOException error) {
                isOver = round.isEmpty() || !leavesOthersToAsk(error, exchange);
                if (!isOver) continue; // each has its turn before a pause
                if (error instanceof Refused refused) throw new Refused(refused);
                boolean isLost = exchange.isBroken() && exchange.wasSent();
                // Whatever broke a long wait, it was not that nobody was there.
                if (isLost && Clock.since(exchange.sentAt()) > Wire.ANSWER_TIME) away = new Limit(retry);
                long pause = Math.min(LONGEST_PAUSE, PAUSE << Math.min(attempt++, 6));
                pause = (long) (pause * ThreadLocalRandom.current().nextDouble(0.5, 1));
                // What was sent may have been granted: that is asked for also when the timeout is over.
                long left = isLost ? away.left() : Math.min(limit.left(), away.left());
                if (!exchange.isBroken() || left < pause) throw told(error);
                isOver = false;
                round = cluster.round();
                TimeUnit.NANOSECONDS.sleep(pause);
            } finally {
                if (isOver) giveBack(name, exchange, base);
                else exchange.cut();
            }
        }
    }

    /** Whether another node may answer better. */
    private static boolean leavesOthersToAsk(IOException error, Exchange exchange) {
        if (error instanceof Refused refused) return "Unavailable".equals(refused.symbol());
        boolean isOutdated = Cluster.OUTDATED.equals(error.getMessage());
        return exchange.isBroken() || isOutdated || error instanceof SocketTimeoutException;
    }

    private Term term() {
        return new Term(cluster, stopWithin, TO_STOP, TOO_LONG_TO_STOP);
    }

    private IOException told(IOException error) {
        return new IOException("no lock could be taken from the server at " + cluster + ": " + Texts.of(error)
            + "; check that getlockd runs there", error);
    }

    private Lease granted(String name, Limit limit, long ttl, Exchange exchange, Base base)
            throws IOException, NotGranted, InterruptedException {
        Term term = term();
        Exchange.Answer answer = exchange.await(limit.left() + Wire.PARKED_TIME);
        if (answer.status().equals("Busy")) throw new NotGranted(name, limit);
        if (!answer.isGood()) throw answer.refused();
        if (!takes(answer)) throw new IOException(Cluster.OUTDATED);
        cluster.served(base);
        Lease granted = lease(base, name, answer, ttl, term);
        term.renew(exchange.sentAt(), ttl);
        if (Clock.since(exchange.sentAt()) > ttl / ASKED_AT_ONCE) confirm(base, name, answer, term, ttl);
        if (!term.begin()) throw new IOException("the server granted the lock and did not confirm it in time");
        granted.start();
        return granted;
    }

    private Lease lease(Base base, String name, Exchange.Answer answer, long ttl, Term term) throws IOException {
        String token = answer.fields().get("lockToken");
        String fencingToken = answer.fields().getOrDefault("fencingToken", "");
        boolean hasBoth = token != null && !token.isEmpty() && fencingToken.matches("\\d{1,18}");
        if (!hasBoth) throw new IOException("its answer has no token");
        return new Lease(this, base, name, token, Long.parseLong(fencingToken), ttl, term);
    }

    /** Counts the lease from a heartbeat, since nobody knows when in its wait the acquire was granted. */
    private void confirm(Base base, String name, Exchange.Answer granted, Term term, long ttl)
            throws IOException, InterruptedException {
        String token = granted.fields().get("lockToken");
        for (Limit limit = new Limit(Duration.ofNanos(ttl)); ; ) {
            Exchange beat = heartbeat(base, name, token, ttl);
            try {
                Exchange.Answer answer = beat.await(Math.min(limit.left(), Wire.ANSWER_TIME));
                if (isFinal(answer)) throw answer.refused();
                if (!answer.isGood()) throw new IOException("it answered " + answer.status());
                term.renew(beat.sentAt(), ttl);
                return;
            } catch (Refused over) {
                throw over;
            } catch (IOException error) {
                if (limit.left() < PAUSE) throw error;
                TimeUnit.NANOSECONDS.sleep(PAUSE);
            } finally {
                beat.cut();
            }
        }
    }

    /** Leaves the queue. A grant that is on its way, or has come already, is given back as soon as it can be. */
    private void giveBack(String name, Exchange exchange, Base base) {
        exchange.hangUp();
        exchange.answer().thenAccept(answer -> {
            String token = answer.fields().get("lockToken");
            if (token != null) cutLater(release(base, name, token));
        });
        cutLater(exchange);
    }

    private static void cutLater(Exchange exchange) {
        var cut = Background.after(Wire.ANSWER_TIME, exchange::cut);
        exchange.answer().whenComplete((answer, error) -> cut.cancel(false));
    }

    private Exchange post(Base base, String verb, Json json) {
        byte[] body = json.toString().getBytes(StandardCharsets.UTF_8);
        String request = "POST " + base.path() + "/api/lock/" + verb + " HTTP/1.1\r\nHost: " + base.place()
            + "\r\nContent-Type: application/json\r\nContent-Length: " + body.length + "\r\nConnection: close\r\n"
            + (authorization == null ? "" : "Authorization: " + authorization + "\r\n") + "\r\n" + json;
        return new Exchange(new Wire(base.address(), isHttps() ? context() : null, cluster.connectTime()), request);
    }

    private SSLContext context() {
        try {
            return tls == null ? SSLContext.getDefault() : tls;
        } catch (NoSuchAlgorithmException none) {
            throw new IllegalStateException("this Java has no TLS", none);
        }
    }

    private boolean isHttps() {
        return cluster.first().isHttps();
    }
}
