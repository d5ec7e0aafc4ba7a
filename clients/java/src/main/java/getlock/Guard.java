package getlock;

import java.io.IOException;
import java.net.ProtocolException;

/** A lock that a connection of its own holds. It ends with the connection. */
public final class Guard extends Hold {
    private final Connection connection;
    private final long session;

    Guard(Connection connection, String name, long session, long fencingToken) {
        super(name, fencingToken, connection.term());
        this.connection = connection;
        this.session = session;
    }

    /** {@return the number that the server has given to the session that holds the lock} */
    public long session() {
        return session;
    }

    @Override
    String place() {
        return " session=" + session;
    }

    @Override
    void start() {
        // During a release its answer decides. It may have come in front of the end.
        connection.ended().thenAccept(reason -> {
            if (!isReleasing()) lose(reason);
        });
        super.start();
    }

    @Override
    void free() {
        connection.ask("RELEASE_LOCK " + Texts.quoted(name())).whenComplete((reply, error) -> {
            if (error != null) lose(error instanceof Exception reason ? reason : new IOException(error));
            else if (reply.equals("1")) freed();
            else lose(new ProtocolException("the server answered " + reply + " when the lock was released"));
        });
    }

    @Override
    long keep() {
        long pause = term().every();
        if (pause == 0) return Long.MAX_VALUE; // there is no deadline
        long left = pause - connection.sinceAsked();
        if (left > 0) return left;
        connection.ask(Connection.KEEPALIVE);
        return pause;
    }

    @Override
    void stop() {
        connection.cut();
    }

    /**
     * The server frees the lock when its connection ends. So that stays open, unused, while the work stops, but not
     * for longer than others are kept from the lock.
     */
    @Override
    void leave() {
        long left = term().safe();
        if (left == 0) stop();
        else if (!connection.ended().isDone()) Background.after(Math.min(left, LONGEST_PAUSE), this::leave);
    }
}
