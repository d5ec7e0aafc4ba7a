package getlock;

import java.time.Duration;
import java.util.Objects;

/** What is refused before anything is sent. */
final class Checks {
    private Checks() {}

    static String name(String name) {
        return Texts.unicode(Objects.requireNonNull(name, "the name of the lock is null; give a text"));
    }

    static Duration stopWithin(Duration time) {
        if (time != null && time.isNegative()) {
            throw new IllegalArgumentException("stopWithin is negative; give the time that the work needs to stop");
        }
        return time == null || time.compareTo(Limit.LONGEST) < 0 ? time : Limit.LONGEST;
    }
}
