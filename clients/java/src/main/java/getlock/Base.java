package getlock;

import java.net.URI;
import java.util.ArrayList;
import java.util.List;

/** Where a server is, over HTTP. */
record Base(URI url, String path) {
    /** Of each text one, or several with commas between them: all with TLS, or all without. */
    static List<Base> of(List<String> texts) {
        var bases = new ArrayList<Base>();
        for (String text : texts) {
            for (String one : text.split(",", -1)) bases.add(of(one.trim()));
        }
        if (bases.isEmpty()) throw new IllegalArgumentException("there is no URL; give at least one");
        if (bases.stream().map(Base::isHttps).distinct().count() > 1) {
            throw new IllegalArgumentException("some URLs begin with https and some with http; use one for all");
        }
        return bases;
    }

    private static Base of(String text) {
        URI url = URI.create(text);
        boolean isHttp = "http".equalsIgnoreCase(url.getScheme()) || "https".equalsIgnoreCase(url.getScheme());
        if (!isHttp || url.getHost() == null || url.getUserInfo() != null) {
            throw new IllegalArgumentException("'" + text + "' is no URL such as http://127.0.0.1:3308");
        }
        return new Base(url, url.getRawPath().replaceAll("/+$", ""));
    }

    boolean isHttps() {
        return "https".equalsIgnoreCase(url.getScheme());
    }

    /** As the head of a request has it. */
    String place() {
        return url.getHost() + (url.getPort() < 0 ? "" : ":" + url.getPort());
    }

    Address address() {
        int port = url.getPort() >= 0 ? url.getPort() : isHttps() ? 443 : 80;
        return new Address(url.getHost().replaceAll("^\\[|\\]$", ""), port);
    }

    @Override
    public String toString() {
        return url.toString();
    }
}
