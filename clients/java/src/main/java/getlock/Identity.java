package getlock;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;

/** What the lists of the server show of this client: a name, {@code user@host[pid] program} by default, and a note. */
record Identity(String name, String note) {
    private static final int LONGEST = 256;

    /** The name by default, and no note. */
    static final Identity DEFAULT = new Identity(null, null);

    Identity {
        check("name", name);
        check("note", note);
    }

    static String check(String what, String text) {
        if (text == null) return null;
        int length = Texts.unicode(text).codePointCount(0, text.length());
        if (length <= LONGEST) return text;
        throw new IllegalArgumentException(
            "the " + what + " has " + length + " characters; use at most " + LONGEST);
    }

    /** The name to send; null if none is to be sent. */
    String shown() {
        if (name == null) return ownName();
        if (!name.isEmpty()) return name;
        if (note == null) return null;
        throw new IllegalArgumentException("a note needs a name; leave out the empty name, or the note");
    }

    /** The command that sends them; null if nothing is to be sent. */
    String line() {
        String shown = shown();
        if (shown == null) return null;
        return "INTRODUCE " + Texts.quoted(shown) + (note == null ? "" : " " + Texts.quoted(note));
    }

    /** Never arguments: these may be secret. */
    private static String ownName() {
        String program = System.getProperty("sun.java.command", "java").split(" ", 2)[0];
        program = program.substring(program.lastIndexOf('/') + 1);
        long process = ProcessHandle.current().pid();
        String name = System.getProperty("user.name", "unknown") + "@" + host() + "[" + process + "] " + program;
        // A property of the system need not be valid Unicode.
        String whole = new String(name.getBytes(StandardCharsets.UTF_8),
            StandardCharsets.UTF_8);
        boolean isLong = whole.codePointCount(0, whole.length()) > LONGEST;
        return isLong ? whole.substring(0, whole.offsetByCodePoints(0, LONGEST)) : whole;
    }

    private static String host() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException error) {
            return "localhost";
        }
    }
}
