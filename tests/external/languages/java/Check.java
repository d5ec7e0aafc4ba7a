import java.util.Objects;
import java.util.concurrent.Callable;

/** What a step is sure of. */
final class Check {
    private static final long PATIENCE = 20_000_000_000L;

    private Check() {}

    static void that(boolean is, String what) {
        if (!is) throw new AssertionError("it is not so: " + what);
    }

    static void equal(Object wanted, Object got) {
        if (!Objects.equals(wanted, got)) throw new AssertionError("wanted " + wanted + ", got " + got);
    }

    static <X extends Throwable> X thrown(Class<X> wanted, Callable<?> task) {
        Object result;
        try {
            result = task.call();
        } catch (Throwable error) {
            if (wanted == error.getClass()) return wanted.cast(error);
            throw new AssertionError("wanted " + wanted.getSimpleName() + ", got " + error, error);
        }
        throw new AssertionError("wanted " + wanted.getSimpleName() + ", got " + result);
    }

    /** Looks until it is so. */
    static void inTime(String what, Callable<Boolean> isSo) throws Exception {
        for (long start = System.nanoTime(); !isSo.call(); Thread.sleep(5)) {
            if (System.nanoTime() - start > PATIENCE) throw new AssertionError("in 20 s there was not: " + what);
        }
    }

    static double secondsSince(long nanos) {
        return seconds(nanos, System.nanoTime());
    }

    static double seconds(long from, long to) {
        return (to - from) / 1e9;
    }
}
