package getlock;

import java.math.BigDecimal;
import java.time.Duration;

/** How long somebody is ready to wait, from now on. */
final class Limit {
    /** What is longer is forever: no sum of times can overflow. */
    static final Duration LONGEST = Duration.ofDays(36_500);

    private final boolean isForever;
    private final long nanos;
    private final long start = System.nanoTime();

    Limit(Duration timeout) {
        isForever = timeout == null || timeout.isNegative() || timeout.compareTo(LONGEST) > 0;
        nanos = isForever ? LONGEST.toNanos() : timeout.toNanos();
    }

    private Limit(long nanos) {
        isForever = false;
        this.nanos = nanos;
    }

    /** The same with so much more, from now on. */
    Limit with(Duration more) {
        return isForever ? this : new Limit(left() + more.toNanos());
    }

    /** In nanoseconds; 0 when it is over. */
    long left() {
        return isForever ? nanos : Math.max(0, nanos - (System.nanoTime() - start));
    }

    /** What is left, for the line protocol: -1 is forever. */
    String words() {
        return isForever ? "-1" : BigDecimal.valueOf(left(), 9).toPlainString();
    }

    /** What is left, for HTTP: -1 is forever. Less than a millisecond is no mere try. */
    long millis() {
        return isForever ? -1 : (left() + 999_999) / 1_000_000;
    }

    /** The whole, for people. */
    String seconds() {
        return nanos == 0 ? "0" : BigDecimal.valueOf(nanos, 9).stripTrailingZeros().toPlainString();
    }
}
