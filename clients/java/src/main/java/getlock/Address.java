package getlock;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Where a server is, for the line protocol. */
record Address(String host, int port) {
    private static final Pattern HOST_AND_PORT = Pattern.compile("(\\[[^\\]]*\\]|[^:\\[\\]]*):([0-9]{1,5})");

    /** Of each text one, or several with commas between them. The port is that of those without one. */
    static List<Address> of(List<String> texts, int port) {
        var addresses = new ArrayList<Address>();
        for (String text : texts) {
            for (String one : text.split(",", -1)) addresses.add(of(one.trim(), port));
        }
        if (addresses.isEmpty()) throw new IllegalArgumentException("there is no address; give at least one");
        return addresses;
    }

    private static Address of(String text, int port) {
        Matcher match = HOST_AND_PORT.matcher(text);
        boolean hasPort = match.matches();
        String host = (hasPort ? match.group(1) : text).replaceAll("^\\[|\\]$", "");
        int own = hasPort ? Integer.parseInt(match.group(2)) : port;
        if (own < 1 || own > 65535) throw new IllegalArgumentException("a port is from 1 to 65535, not " + own);
        if (host.isEmpty()) throw new IllegalArgumentException("a host is empty; give a name or an address");
        return new Address(host, own);
    }

    @Override
    public String toString() {
        return host + ":" + port;
    }
}
