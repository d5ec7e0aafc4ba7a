package getlock;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * What the connections of one client know together: the addresses, and the cluster behind them if there is one.
 *
 * @param <A> an address
 */
final class Cluster<A> {
    static final String OUTDATED = "the server that answered no longer leads its cluster";

    /** Until the next of several addresses is tried. */
    private static final long CONNECT_TIME = TimeUnit.SECONDS.toNanos(3);

    /** The same for one that is connected and silent: all nodes of a cluster are held up alike. */
    private static final long TURN_TIME = TimeUnit.SECONDS.toNanos(5);

    private final List<A> addresses;
    private A good;
    private long term;
    private long longest;

    Cluster(List<A> addresses) {
        this.addresses = List.copyOf(addresses);
        good = addresses.get(0);
    }

    /** All addresses in the order of the tries: the last good one is the first. */
    synchronized List<A> round() {
        int at = addresses.indexOf(good);
        var round = new ArrayList<>(addresses.subList(at, addresses.size()));
        round.addAll(addresses.subList(0, at));
        return round;
    }

    synchronized void served(A address) {
        good = address;
    }

    A first() {
        return addresses.get(0);
    }

    /** The address behind this one, round and round. */
    A after(A address) {
        return addresses.get((addresses.indexOf(address) + 1) % addresses.size());
    }

    long connectTime() {
        return addresses.size() == 1 ? Wire.ANSWER_TIME : CONNECT_TIME;
    }

    long firstAnswerTime() {
        return addresses.size() == 1 ? Wire.PARKED_TIME : TURN_TIME;
    }

    /**
     * Whether an answer of that term counts. One of a lower term than was seen is of a leader that no longer leads.
     *
     * @param left the promise in it, in nanoseconds; 0 for none
     */
    synchronized boolean takes(long ofTerm, long left) {
        if (ofTerm < term) return false;
        term = ofTerm;
        longest = Math.max(longest, left);
        return true;
    }

    /** The longest promise so far: nine tenths of --cluster-ttl. Others have what is left to the leader. */
    synchronized long longest() {
        return longest;
    }

    @Override
    public String toString() {
        return String.join(", ", addresses.stream().map(Object::toString).toList());
    }
}
