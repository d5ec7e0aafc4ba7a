package getlock;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/** A clock that also counts the time for which the machine is suspended, where the system has one. */
final class Clock {
    /** By so much it may be behind: {@code /proc/uptime} has hundredths of a second. */
    static final long GRAIN = 10_000_000;

    /** It stays open, so that the clock goes on when the process may open no more files. */
    private static final RandomAccessFile UPTIME = open();

    private Clock() {}

    /** In nanoseconds from some moment on; only differences mean something. */
    static long now() {
        try {
            return UPTIME == null ? System.nanoTime() : uptime(UPTIME);
        } catch (IOException error) {
            throw new UncheckedIOException("/proc/uptime cannot be read any more", error);
        }
    }

    static long since(long moment) {
        return now() - moment;
    }

    private static RandomAccessFile open() {
        try {
            var file = new RandomAccessFile("/proc/uptime", "r");
            uptime(file);
            return file;
        } catch (IOException | RuntimeException elsewhere) {
            return null; // this is not Linux
        }
    }

    /** Such as {@code 478.63 111.14}: the first number counts. */
    private static long uptime(RandomAccessFile file) throws IOException {
        byte[] text = new byte[64];
        int length;
        synchronized (file) {
            file.seek(0);
            length = file.read(text);
        }
        String number = new String(text, 0, length, StandardCharsets.US_ASCII).split(" ", 2)[0];
        return Long.parseLong(number.replace(".", "")) * GRAIN;
    }
}
