package getlock;

import java.util.concurrent.TimeUnit;

/** A lock that heartbeats hold. It needs no connection between them. */
public final class Lease extends Hold {
    /** So many heartbeats are sent in the time of the lease. */
    private static final int BEATS_PER_TERM = 3;

    private static final long SHORTEST_PAUSE = TimeUnit.MILLISECONDS.toNanos(50);

    private final Leases leases;
    private Base base; // where the next request goes
    private final String leaseToken;
    private final long ttl;
    private Exchange beat;
    private long lastTry;
    private long pause;

    Lease(Leases leases, Base base, String name, String leaseToken, long fencingToken, long ttl, Term term) {
        super(name, fencingToken, term);
        this.leases = leases;
        this.base = base;
        this.leaseToken = leaseToken;
        this.ttl = ttl;
        lastTry = Clock.now();
        pause = ttl / BEATS_PER_TERM;
    }

    /** {@return the token by which the server knows the lease} Who has it can free the lock: keep it secret. */
    public String leaseToken() {
        return leaseToken;
    }

    /** A heartbeat that gets no answer is given up after the time of one, and the next is sent soon. */
    @Override
    synchronized long keep() {
        if (isReleasing()) return pause;
        long left = pause - Clock.since(lastTry);
        if (left > 0) return left;
        if (beat != null) {
            if (!beat.answer().isDone()) moveOn();
            beat.cut();
        }
        Exchange next = leases.heartbeat(base, name(), leaseToken, ttl);
        beat = next;
        lastTry = next.sentAt();
        pause = ttl / BEATS_PER_TERM;
        next.answer().whenComplete((answer, error) -> answered(next, answer));
        return pause;
    }

    private void answered(Exchange exchange, Exchange.Answer answer) {
        if (answer != null && answer.isGood() && leases.takes(answer)) {
            term().renew(exchange.sentAt(), ttl);
        } else if (answer != null && Leases.isFinal(answer)) {
            // A heartbeat may come behind the release, and finds no lease then.
            if (!isReleasing()) lose(answer.refused());
        } else {
            again(exchange);
        }
    }

    private synchronized void again(Exchange failed) {
        if (beat != failed) return;
        moveOn();
        lastTry = Clock.now();
        pause = Math.min(pause, Math.max(SHORTEST_PAUSE, ttl / 20));
        Background.after(pause + Clock.GRAIN, this::keepAgain); // the next regular look may be later
    }

    private synchronized void moveOn() {
        base = leases.cluster().after(base);
    }

    private synchronized Base base() {
        return base;
    }

    private void keepAgain() {
        if (held()) keep();
    }

    /** Tried again until there is an answer, or {@link Hold} gives it up. */
    @Override
    void free() {
        leases.release(base(), name(), leaseToken).answer().whenComplete((answer, error) -> {
            if (answer != null && answer.isGood()) freed();
            else if (answer != null && Leases.isFinal(answer)) lose(answer.refused());
            else if (!isEnded()) {
                moveOn();
                Background.after(SHORTEST_PAUSE, this::free);
            }
        });
    }

    @Override
    void stop() {
        Exchange last;
        synchronized (this) {
            last = beat;
        }
        if (last != null) last.cut();
    }
}
