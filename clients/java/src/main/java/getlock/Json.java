package getlock;

import java.util.HashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** As much of JSON as the leases need: objects of texts and numbers, with nothing inside. */
final class Json {
    private static final String TEXT = "\"([^\"\\\\]*+(?:\\\\.[^\"\\\\]*+)*+)\"";
    private static final Pattern FIELD = Pattern.compile(TEXT + "\\s*:\\s*(?:" + TEXT + "|([^\\s,}\"]+))");
    private static final Pattern ESCAPE = Pattern.compile("\\\\(?:u([0-9a-fA-F]{4})|(.))");

    private final StringBuilder fields = new StringBuilder();

    /** Leaves out what is null. */
    Json with(String name, Object value) {
        if (value == null) return this;
        fields.append(fields.isEmpty() ? "" : ",").append(quoted(name)).append(':');
        fields.append(value instanceof Number ? value.toString() : quoted(value.toString()));
        return this;
    }

    @Override
    public String toString() {
        return "{" + fields + "}";
    }

    /** The fields of an object, without those that are null; numbers are kept as they are written. */
    static Map<String, String> fields(String object) {
        var fields = new HashMap<String, String>();
        Matcher field = FIELD.matcher(object);
        while (field.find()) {
            if ("null".equals(field.group(3))) continue;
            fields.put(plain(field.group(1)), field.group(2) == null ? field.group(3) : plain(field.group(2)));
        }
        return fields;
    }

    private static String quoted(String text) {
        var quoted = new StringBuilder("\"");
        for (char c : Texts.unicode(text).toCharArray()) {
            if (c == '"' || c == '\\') quoted.append('\\').append(c);
            else if (c < ' ') quoted.append(String.format("\\u%04x", (int) c));
            else quoted.append(c);
        }
        return quoted.append('"').toString();
    }

    private static String plain(String text) {
        return ESCAPE.matcher(text)
            .replaceAll(escape -> Matcher.quoteReplacement(character(escape.group(1), escape.group(2))));
    }

    private static String character(String code, String letter) {
        if (code != null) return String.valueOf((char) Integer.parseInt(code, 16));
        return switch (letter) {
            case "b" -> "\b";
            case "f" -> "\f";
            case "n" -> "\n";
            case "r" -> "\r";
            case "t" -> "\t";
            default -> letter;
        };
    }
}
