package getlock;

/**
 * Work that is done under a lock.
 *
 * @param <H> what holds the lock: a {@link Guard} or a {@link Lease}
 * @param <T> the result
 * @param <X> what the work may throw
 */
@FunctionalInterface
public interface Body<H extends Hold, T, X extends Exception> {
    /**
     * Runs while the lock is held.
     *
     * @param hold tells the fencing token, and whether the lock is still held
     * @return the result of the work
     * @throws X if the work fails
     */
    T run(H hold) throws X;
}
