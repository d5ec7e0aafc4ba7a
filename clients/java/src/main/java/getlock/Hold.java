package getlock;

import java.io.IOException;
import java.net.ProtocolException;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * A lock that is held: by a connection, which is a {@link Guard}, or by heartbeats, which is a {@link Lease}.
 *
 * <p>Use it in a try-with-resources statement, whose end frees the lock. If the lock was lost by then, the statement
 * ends with {@link Lost}. If the body threw something itself, that is what comes out, with the {@code Lost} among its
 * {@link Throwable#getSuppressed() suppressed} ones.
 *
 * <p>A lock that nobody releases is held until the process ends, even if nothing refers to this object any more.
 */
public abstract sealed class Hold implements AutoCloseable permits Guard, Lease {
    /** After a suspension of the machine, a loss is reported at the latest when so much time has passed. */
    static final long LONGEST_PAUSE = TimeUnit.SECONDS.toNanos(1);

    private static final long SHORTEST_PAUSE = TimeUnit.MILLISECONDS.toNanos(1);

    private final String name;
    private final long fencingToken;
    private final Term term;
    private final LostSignal signal = new LostSignal();
    /** Whether the lock was held until it was released. */
    private final CompletableFuture<Boolean> end = new CompletableFuture<>();
    private volatile Lost why;
    private volatile boolean isReleasing;
    private long releasedAt;
    private Future<?> nextLook;

    Hold(String name, long fencingToken, Term term) {
        this.name = name;
        this.fencingToken = fencingToken;
        this.term = term;
    }

    /** {@return the name of the lock, as it was given} */
    public final String name() {
        return name;
    }

    /**
     * {@return the fencing token of this hold} It is greater than that of any hold before. Send it along with what you
     * write, and let the store refuse a token that is lower than the highest that it has seen.
     */
    public final long fencingToken() {
        return fencingToken;
    }

    /**
     * Tells as soon as the lock is lost. The future is for looking and for listening: only the guard completes it.
     * What depends on it runs in a thread of its own. It never completes if the lock is released in time.
     *
     * @return a future of the loss, the same at each call
     */
    public final CompletableFuture<Lost> lost() {
        return why().isEmpty() ? signal : signal.told();
    }

    /** {@return why the lock was lost; empty if it was not} It asks the clock, as {@link #held()} does. */
    public final Optional<Lost> why() {
        if (!end.isDone() && term.isOver()) runOut();
        return Optional.ofNullable(why);
    }

    /**
     * Whether the lock is held in this moment. It asks the clock, and does not rely on what the background has noticed.
     *
     * @return false after a loss, and from {@link #release()} on
     */
    public final boolean held() {
        if (isReleasing || end.isDone()) return false;
        if (term.isOver()) runOut();
        return !end.isDone();
    }

    /**
     * Frees the lock. A second call changes nothing and answers the same. An interrupt does not disturb it.
     *
     * @return true if the lock was held until now, false if it had been lost
     */
    public final boolean release() {
        if (held() && isFirstRelease()) free();
        boolean wasHeld = end.join();
        if (!wasHeld) stop(); // a loss may have left a connection open
        return wasHeld;
    }

    /**
     * Frees the lock, at the end of the block.
     *
     * @throws Lost if the lock had been lost
     */
    @Override
    public final void close() throws Lost {
        // A new one, since the body may have thrown the other: no exception can be suppressed by itself.
        if (!release()) throw new Lost(why);
    }

    /** {@return the name, the fencing token and whether the lock is held, for people} */
    @Override
    public String toString() {
        return getClass().getSimpleName() + " '" + name + "'" + place() + " fencingToken=" + fencingToken
            + " held=" + held();
    }

    /** What more there is to show of it. */
    String place() {
        return "";
    }

    /** Sends what frees the lock; the answer ends in {@link #freed} or in {@link #lose}. */
    abstract void free();

    /** Asks the server for more time, if it is time to. Returns after how many nanoseconds it wants to be called. */
    abstract long keep();

    /** Ends all connections: the lock is freed or lost. */
    abstract void stop();

    /** The lock is lost since its time is over. If its connection has to stay open, {@link #stop} may come later. */
    void leave() {
        stop();
    }

    /** Starts to keep the lock, which happens in the background. */
    void start() {
        look();
    }

    final Term term() {
        return term;
    }

    final boolean isReleasing() {
        return isReleasing;
    }

    final boolean isEnded() {
        return end.isDone();
    }

    final void freed() {
        if (ends(true, null)) stop();
    }

    final void lose(Exception reason) {
        lose(reason, this::stop);
    }

    private void runOut() {
        lose(new IOException("the server has not answered in time"), this::leave);
    }

    private void lose(Exception reason, Runnable parting) {
        if (end.isDone()) return;
        Lost lost = new Lost(name, reason);
        if (!ends(false, lost)) return;
        parting.run();
        signal.fire(lost);
    }

    private synchronized boolean ends(boolean wasHeld, Lost lost) {
        if (end.isDone()) return false;
        why = lost;
        if (nextLook != null) nextLook.cancel(false);
        return end.complete(wasHeld);
    }

    private synchronized boolean isFirstRelease() {
        if (isReleasing) return false;
        releasedAt = Clock.now();
        isReleasing = true;
        return true;
    }

    private void look() {
        try {
            long pause = end.isDone() ? 0 : pauseAfterLook();
            synchronized (this) {
                long within = Math.max(SHORTEST_PAUSE, Math.min(pause, LONGEST_PAUSE));
                if (!end.isDone()) nextLook = Background.after(within, this::look);
            }
        } catch (RuntimeException | Error broken) {
            lose(new IOException(broken)); // a lock that nobody watches is none
        }
    }

    private long pauseAfterLook() {
        if (term.isOver()) runOut();
        else if (isReleasing && Clock.since(releasedAt) > Wire.ANSWER_TIME) lose(unanswered());
        return end.isDone() ? 0 : Math.min(keep(), term.left());
    }

    private static IOException unanswered() {
        return new ProtocolException("the server did not answer when the lock was released");
    }
}
