package getlock;

import java.io.IOException;
import java.net.ProtocolException;
import java.net.SocketTimeoutException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A session of the line protocol. Its thread connects and reads, so that a caller that waits for an answer can be
 * interrupted.
 */
final class Connection {
    static final String KEEPALIVE = "KEEPALIVE";

    private static final Pattern PROMISE =
            Pattern.compile(KEEPALIVE + " left=([0-9]{1,9}(?:\\.[0-9]+)?)(?: [a-z_]+=.*)?");

    private static final Pattern TERM = Pattern.compile(" term=(\\S*)");

    private final Wire wire;
    private final Term term;
    private final CompletableFuture<String> opened = new CompletableFuture<>();
    private final CompletableFuture<Exception> ended = new CompletableFuture<>();
    private final Deque<CompletableFuture<String>> commands = new ArrayDeque<>();
    /** KEEPALIVE is answered before a command that waits: its answers are in an order of their own. */
    private final Deque<Question> questions = new ArrayDeque<>();
    private long askedAt;
    /** Why it is over; null while it is not. */
    private Exception over;

    private record Question(long sentAt, CompletableFuture<String> answer) {}

    Connection(Wire wire, Term term) {
        this.wire = wire;
        this.term = term;
        Background.start("getlock connection", this::run);
    }

    /** Completes when lines may be sent. */
    CompletableFuture<String> opened() {
        return opened;
    }

    /** Completes with the reason when the connection is over. */
    CompletableFuture<Exception> ended() {
        return ended;
    }

    Term term() {
        return term;
    }

    /** Sends lines together. Each has an answer; all fail when the connection ends. */
    synchronized List<CompletableFuture<String>> ask(List<String> lines) {
        var answers = new ArrayList<CompletableFuture<String>>();
        askedAt = lines.contains(KEEPALIVE) ? Clock.now() : askedAt;
        for (String line : lines) {
            var answer = new CompletableFuture<String>();
            answers.add(answer);
            if (over != null) answer.completeExceptionally(over);
            else if (line.equals(KEEPALIVE)) questions.add(new Question(askedAt, answer));
            else commands.add(answer);
        }
        try {
            if (over == null) wire.send(String.join("\n", lines) + "\n");
        } catch (IOException broken) {
            // The thread that reads will find it broken too. Before that it may find the server's reason.
        }
        return answers;
    }

    CompletableFuture<String> ask(String line) {
        return ask(List.of(line)).get(0);
    }

    /** In nanoseconds, how long ago a KEEPALIVE was sent. */
    synchronized long sinceAsked() {
        return Clock.since(askedAt);
    }

    void cut() {
        wire.cut();
    }

    static String await(CompletableFuture<String> answer, long nanos) throws IOException, InterruptedException {
        try {
            return answer.get(nanos, TimeUnit.NANOSECONDS);
        } catch (TimeoutException late) {
            throw new SocketTimeoutException("the server did not answer in time");
        } catch (ExecutionException failed) {
            if (failed.getCause() instanceof IOException error) throw error;
            if (failed.getCause() instanceof IllegalArgumentException error) {
                throw new IllegalArgumentException(error.getMessage(), error);
            }
            throw new IOException(failed.getCause());
        }
    }

    /** Waits for it, whatever comes of it. */
    static void settle(CompletableFuture<?> answer, long nanos) throws InterruptedException {
        try {
            answer.get(nanos, TimeUnit.NANOSECONDS);
        } catch (TimeoutException | ExecutionException later) {
            // The caller looks.
        }
    }

    private void run() {
        try {
            wire.open();
            opened.complete("");
            while (true) accept(wire.line());
        } catch (IOException | RuntimeException why) {
            end(why);
        } catch (Error why) {
            end(new IOException(why));
            throw why;
        } finally {
            wire.cut();
        }
    }

    private void accept(String line) throws IOException {
        CompletableFuture<String> answer = line.startsWith(KEEPALIVE) ? promised(line) : answered();
        if (line.startsWith("ERROR ")) {
            Refused refused = Refused.of(line);
            if (answer == null) throw refused; // why the server closes the connection
            answer.completeExceptionally(refused);
        } else if (answer == null) {
            throw new ProtocolException("the server said, without being asked: " + line);
        } else {
            answer.complete(line);
        }
    }

    private synchronized CompletableFuture<String> answered() {
        return commands.poll();
    }

    private synchronized CompletableFuture<String> promised(String line) throws IOException {
        Matcher promise = PROMISE.matcher(line);
        if (!promise.matches()) throw new ProtocolException("the server said: " + line);
        Question question = questions.poll();
        if (question == null) return null;
        long left = (long) (Double.parseDouble(promise.group(1)) * 1e9);
        Matcher ofTerm = TERM.matcher(line);
        if (!ofTerm.find()) term.renew(question.sentAt, left);
        else if (ofTerm.group(1).matches("[0-9]{1,18}")) {
            term.renew(question.sentAt, left, Long.parseLong(ofTerm.group(1)));
        } else throw new ProtocolException("the server said: " + line);
        return question.answer;
    }

    private void end(Exception why) {
        List<CompletableFuture<String>> unanswered;
        synchronized (this) {
            unanswered = new ArrayList<>(commands);
            questions.forEach(question -> unanswered.add(question.answer));
            commands.clear();
            questions.clear();
            over = why;
        }
        opened.completeExceptionally(why);
        unanswered.forEach(answer -> answer.completeExceptionally(why));
        ended.complete(why);
    }
}
