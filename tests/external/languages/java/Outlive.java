import getlock.GetLock;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** A process that holds a lock, and a command that it has started. */
final class Outlive implements AutoCloseable {
    private final Process holder;
    private final ProcessHandle command;

    Outlive(int port, String name) throws IOException {
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        String classes = System.getProperty("java.class.path");
        var builder = new ProcessBuilder(java, "-cp", classes, "Steps", Integer.toString(port), "hold", name);
        holder = builder.redirectError(ProcessBuilder.Redirect.INHERIT).start();
        var said = new BufferedReader(new InputStreamReader(holder.getInputStream(), StandardCharsets.UTF_8));
        command = ProcessHandle.of(Long.parseLong(said.readLine())).orElseThrow();
    }

    /** What the holder does: it takes the lock, starts a command, tells its number, and waits. */
    static void hold(GetLock locks, String name) throws Exception {
        try (var guard = locks.lock(name)) {
            var sleep = new ProcessBuilder("sleep", "60").start();
            System.out.println(sleep.pid());
            guard.lost().join();
        }
    }

    /** Without a chance to say goodbye. */
    void kill() throws InterruptedException {
        holder.destroyForcibly().waitFor();
    }

    boolean commandLives() {
        return command.isAlive();
    }

    @Override
    public void close() {
        holder.destroyForcibly();
        command.destroyForcibly();
    }
}
