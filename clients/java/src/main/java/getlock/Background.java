package getlock;

import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** The threads that this package starts. All are daemons: none keeps a program from its end. */
final class Background {
    /** One thread for all timers. It ends when nothing has been held for a while. */
    private static final ScheduledThreadPoolExecutor TIMER = timer();

    private Background() {}

    static void start(String name, Runnable task) {
        thread(name, task).start();
    }

    /** The task must be short and must not wait: all others of the process wait for its thread. */
    static ScheduledFuture<?> after(long nanos, Runnable task) {
        return TIMER.schedule(task, nanos, TimeUnit.NANOSECONDS);
    }

    private static ScheduledThreadPoolExecutor timer() {
        var timer = new ScheduledThreadPoolExecutor(1, task -> thread("getlock timer", task));
        timer.setKeepAliveTime(10, TimeUnit.SECONDS);
        timer.allowCoreThreadTimeOut(true);
        timer.setRemoveOnCancelPolicy(true);
        return timer;
    }

    private static Thread thread(String name, Runnable task) {
        Thread thread = new Thread(null, task, name, 0, false);
        thread.setDaemon(true);
        return thread;
    }
}
