package getlock;

import java.nio.charset.StandardCharsets;

/** How texts are written on the wires. */
final class Texts {
    private Texts() {}

    /** For the line protocol: one word, whatever is in it. No text can become a second line. */
    static String quoted(String text) {
        String safe = unicode(text).replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0");
        return "'" + safe.replace("\n", "\\n").replace("\r", "\\r") + "'";
    }

    /** An encoder would write a question mark for half a character, and that is another name. */
    static String unicode(String text) {
        if (StandardCharsets.UTF_8.newEncoder().canEncode(text)) return text;
        throw new IllegalArgumentException("a string has half of a surrogate pair; use valid Unicode");
    }

    /** What an exception says. Some say nothing but their class. */
    static String of(Throwable error) {
        return error.getMessage() == null ? error.getClass().getSimpleName() : error.getMessage();
    }
}
