package getlock;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** A future that only its guard can complete. All who ask share it, so nobody may complete it for the others. */
final class LostSignal extends CompletableFuture<Lost> {
    /** In a thread of its own: what depends on it may take its time. */
    void fire(Lost lost) {
        try {
            Background.start("getlock lost", () -> super.complete(lost));
        } catch (OutOfMemoryError noThread) {
            super.complete(lost);
        }
    }

    /** Waits until it is complete. The thread that fires has been started, or is about to be. */
    LostSignal told() {
        join();
        return this;
    }

    @Override
    public boolean complete(Lost value) {
        return false;
    }

    @Override
    public boolean completeExceptionally(Throwable error) {
        return false;
    }

    @Override
    public boolean cancel(boolean mayInterruptIfRunning) {
        return false;
    }

    @Override
    public void obtrudeValue(Lost value) {
        throw new UnsupportedOperationException("only the guard tells that its lock is lost");
    }

    @Override
    public void obtrudeException(Throwable error) {
        throw new UnsupportedOperationException("only the guard tells that its lock is lost");
    }

    @Override
    public CompletableFuture<Lost> completeAsync(Supplier<? extends Lost> supplier, Executor executor) {
        return copy().completeAsync(supplier, executor);
    }

    @Override
    public CompletableFuture<Lost> completeAsync(Supplier<? extends Lost> supplier) {
        return copy().completeAsync(supplier);
    }

    @Override
    public CompletableFuture<Lost> orTimeout(long timeout, TimeUnit unit) {
        return copy().orTimeout(timeout, unit);
    }

    @Override
    public CompletableFuture<Lost> completeOnTimeout(Lost value, long timeout, TimeUnit unit) {
        return copy().completeOnTimeout(value, timeout, unit);
    }
}
