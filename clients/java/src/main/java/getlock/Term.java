package getlock;

import java.io.IOException;
import java.time.Duration;

/**
 * For how long nobody else is granted the lock. The server promises it in its answer, and it counts from the moment
 * in which the question was sent: that is surely earlier than the moment from which the server counts.
 *
 * <p>The promises of a cluster differ: each has what is left to its leader. The longest one stands for the rest.
 */
final class Term {
    /** The share of the longest promise of a cluster that the work has for stopping by default. */
    private static final double TO_STOP = 0.2;

    /** More than this share of it is too long. */
    private static final double MOST_TO_STOP = 0.3;

    /** So often it is asked for: each tenth of --cluster-ttl, of which it is nine tenths. */
    private static final int ASKED_PER_CLUSTER_PROMISE = 9;

    /** So often the promise of a server alone is asked for. */
    private static final int ASKED_PER_PROMISE = 5;

    private final Cluster<?> cluster;
    private final Duration stopWithin;
    private final double byDefault;
    private final double atMost;
    private long sentAt;
    /** The promise without the time that the work needs to stop: 0 before the first answer. */
    private long length;
    private long promised;
    private long every;
    private boolean hasBegun;
    /** Of the leader that has answered; 0 without a cluster. */
    private long number;

    /**
     * @param cluster what the connections of the client know together
     * @param stopWithin the time that the work needs to stop; null for the share of the promise that is the default
     * @param byDefault that share
     * @param atMost the share from which on the lock would be lost before it is asked for again
     */
    Term(Cluster<?> cluster, Duration stopWithin, double byDefault, double atMost) {
        this.cluster = cluster;
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
        every = nanos / ASKED_PER_PROMISE;
        length = nanos == 0 ? Long.MAX_VALUE : Math.max(0, nanos - stop - Clock.GRAIN);
    }

    /** The same of a cluster, in that term of its leader. A connection is of one term. */
    synchronized void renew(long questionSentAt, long nanos, long ofTerm) throws IOException {
        boolean isOther = number != 0 && number != ofTerm;
        if (ofTerm == 0 || isOther || !cluster.takes(ofTerm, nanos)) throw new IOException(Cluster.OUTDATED);
        long longest = cluster.longest();
        long stop = stopWithin == null ? (long) (longest * TO_STOP) : stopWithin.toNanos();
        if (longest > 0 && stop > longest * MOST_TO_STOP) {
            throw new IllegalArgumentException("stopWithin is " + seconds(stop) + " s, which is too long for this "
                + "cluster; give at most " + seconds((long) (longest * MOST_TO_STOP)) + " s, or its servers a greater "
                + "--cluster-ttl or --takeover-delay, of which a fifth is always short enough");
        }
        if (hasBegun && isOver()) return;
        // An earlier promise still holds, also if this one is shorter.
        promised = number == 0 ? nanos : Math.max(nanos, sentAt + promised - questionSentAt);
        sentAt = questionSentAt;
        number = ofTerm;
        every = longest / ASKED_PER_CLUSTER_PROMISE;
        length = Math.max(0, promised - stop - Clock.GRAIN);
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

    synchronized boolean isOfCluster() {
        return number != 0;
    }

    /** What the cluster has promised at the longest. */
    long longest() {
        return cluster.longest();
    }

    /** For how long an answer is worth waiting for, if it is known how long a promise is. */
    synchronized long patience(long otherwise) {
        return length > 0 && length != Long.MAX_VALUE ? length : otherwise;
    }

    /** Between two questions, in nanoseconds; 0 if there is nothing to ask for. */
    synchronized long every() {
        return every;
    }

    private static String seconds(long nanos) {
        return Double.toString(Math.round(nanos / 1e6) / 1e3);
    }
}
