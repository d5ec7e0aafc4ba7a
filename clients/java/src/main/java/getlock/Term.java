package getlock;

import java.time.Duration;

/**
 * For how long nobody else is granted the lock. The server promises it in its answer, and it counts from the moment
 * in which the question was sent: that is surely earlier than the moment from which the server counts.
 */
final class Term {
    private final Duration stopWithin;
    private final double byDefault;
    private final double atMost;
    private long sentAt;
    /** The promise without the time that the work needs to stop: 0 before the first answer. */
    private long length;
    private long promised;
    private boolean hasBegun;

    /**
     * @param stopWithin the time that the work needs to stop; null for the share of the promise that is the default
     * @param byDefault that share
     * @param atMost the share from which on the lock would be lost before it is asked for again
     */
    Term(Duration stopWithin, double byDefault, double atMost) {
        this.stopWithin = stopWithin;
        this.byDefault = byDefault;
        this.atMost = atMost;
    }

    /** The server has answered. A promise of 0 means that there is no deadline. */
    synchronized void renew(long questionSentAt, long nanos) {
        long stop = stopWithin == null ? (long) (nanos * byDefault) : stopWithin.toNanos();
        if (nanos > 0 && stop >= nanos * atMost) {
            throw new IllegalArgumentException("stopWithin is " + seconds(stop)
                + " s, but the server promises a lock for " + seconds(nanos)
                + " s at a time, and it would be lost at once; give less than "
                + seconds((long) (nanos * atMost)) + " s");
        }
        if (hasBegun && isOver()) return; // what is lost does not come back
        sentAt = questionSentAt;
        promised = nanos;
        length = nanos == 0 ? Long.MAX_VALUE : Math.max(0, nanos - stop - Clock.GRAIN);
    }

    /** From now on the lock is held, if there is still time. Once over, it stays over. */
    synchronized boolean begin() {
        hasBegun = !isOver();
        return hasBegun;
    }

    synchronized boolean isOver() {
        return length != Long.MAX_VALUE && Clock.since(sentAt) >= length;
    }

    /** Until it is over, in nanoseconds. */
    synchronized long left() {
        return length == Long.MAX_VALUE ? length : Math.max(0, length - Clock.since(sentAt));
    }

    /** Until others can have the lock, in nanoseconds. */
    synchronized long safe() {
        return Math.max(0, promised + Clock.GRAIN - Clock.since(sentAt));
    }

    /** For how long an answer is worth waiting for, if it is known how long a promise is. */
    synchronized long patience(long otherwise) {
        return length > 0 && length != Long.MAX_VALUE ? length : otherwise;
    }

    /** What the server promised the last time, in nanoseconds; 0 if that is nothing. */
    synchronized long promised() {
        return promised;
    }

    private static String seconds(long nanos) {
        return Double.toString(Math.round(nanos / 1e6) / 1e3);
    }
}
