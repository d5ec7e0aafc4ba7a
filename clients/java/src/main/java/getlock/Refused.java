package getlock;

import java.io.IOException;

/** The server refused what it was asked for. The symbol is for programs, the message for people. */
public class Refused extends IOException {
    private static final long serialVersionUID = 1L;

    /** The reason in one word, or null. */
    private final String symbol;

    Refused(String symbol, String text, Throwable cause) {
        super(text, cause);
        this.symbol = symbol;
    }

    /** What a thread in the background was told, with the stack of the caller. */
    Refused(Refused told) {
        this(told.symbol, told.getMessage(), told);
    }

    /** From a line such as {@code ERROR BAD_NAME the name is empty; use 1 to 64 characters}. */
    static Refused of(String line) {
        String[] words = line.split(" ", 3);
        String symbol = words.length > 1 ? words[1] : "ERROR";
        return new Refused(symbol, symbol + ": " + (words.length > 2 ? words[2] : "the server gave no reason"), null);
    }

    /**
     * The reason in one word, such as {@code BAD_NAME}, {@code KILLED}, {@code INTERRUPTED}, {@code DENIED} or
     * {@code AUTH}. For leases it is the server's status, such as {@code Forbidden}.
     *
     * @return the word; null for a {@link Lost} to which the server has said nothing
     */
    public final String symbol() {
        return symbol;
    }
}
