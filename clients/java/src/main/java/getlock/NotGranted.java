package getlock;

import java.util.concurrent.TimeoutException;

/** Others held the lock for the whole timeout. Nothing is held, and nothing waits any more. */
public final class NotGranted extends TimeoutException {
    private static final long serialVersionUID = 1L;

    NotGranted(String name, Limit limit) {
        super("the lock '" + name + "' was not granted within " + limit.seconds()
            + " s, because others hold it; try again later, or give a longer timeout");
    }
}
