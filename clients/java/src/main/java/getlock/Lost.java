package getlock;

/**
 * The lock is gone, and others may have it. Its {@link #symbol()} is the reason that the server gave, such as
 * {@code KILLED}. The symbol is null if the connection broke or the time ran out.
 */
public final class Lost extends Refused {
    private static final long serialVersionUID = 1L;

    Lost(String name, Exception why) {
        super(
            why instanceof Refused refused ? refused.symbol() : null,
            "the lock '" + name + "' was lost: " + Texts.of(why) + "; stop, and take the lock again if you need it",
            why
        );
    }

    /** The same, with the stack of the caller that is told. */
    Lost(Lost told) {
        super(told);
    }
}
