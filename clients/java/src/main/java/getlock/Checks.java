package getlock;

import java.time.Duration;
import java.util.Objects;

/** What is refused before anything is sent. */
final class Checks {
    private Checks() {}

    static String name(String name) {
        return Texts.unicode(Objects.requireNonNull(name, "the name of the lock is null; give a string"));
    }

    static Duration notNegative(String what, Duration time) {
        if (time == null || !time.isNegative()) return time;
        throw new IllegalArgumentException(what + " is negative; give a time of zero or more");
    }

    static Duration stopWithin(Duration time) {
        notNegative("stopWithin", time);
        return time == null || time.compareTo(Limit.LONGEST) < 0 ? time : Limit.LONGEST;
    }
}
