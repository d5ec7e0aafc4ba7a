import getlock.GetLock;
import getlock.Guard;
import getlock.Lost;
import getlock.NotGranted;
import getlock.Refused;
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** What tests/external/languages.rs tells the client of Java to do. */
public class Story {
    static final BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    static final PrintStream output = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    public static void main(String[] args) throws Exception {
        var host = System.getenv().getOrDefault("GETLOCK_HOST", "127.0.0.1");
        var locks = new GetLock(host, Integer.parseInt(args[0]));
        var env = System.getenv();
        String user = env.getOrDefault("GETLOCK_USER", "");
        if (!user.isEmpty()) locks.user(user, env.get("GETLOCK_PASSWORD"));
        if (env.containsKey("GETLOCK_CA")) locks.tls(trusting(env.get("GETLOCK_CA")));
        for (String[] words = command(); words != null; words = command()) {
            var timeout = Duration.ofMillis(Math.round(1000 * Double.parseDouble(words[1])));
            try {
                if (hold(locks.lock(words[2], timeout, words[0].equals("shared")))) output.println("left");
            } catch (NotGranted others) {
                output.println("none");
            } catch (Lost lost) {
                output.println(lost.symbol() == null ? "lost" : "lost " + lost.symbol());
            } catch (Refused refused) {
                output.println("refused " + refused.symbol());
            } catch (IOException away) {
                output.println("away");
            }
        }
    }

    /** Whether the guard was left without a word. */
    static boolean hold(Guard taken) throws IOException {
        try (var guard = taken) {
            output.println("granted " + guard.fencingToken());
            String verb = command()[0];
            if (verb.equals("release")) output.println(guard.release() ? "released" : "not released");
            if (verb.equals("watch")) guard.lost().join();
            return verb.equals("leave");
        }
    }

    static String[] command() throws IOException {
        String line = input.readLine();
        return line == null ? null : line.replace("␤", "\n").split(" ", 3);
    }

    static SSLContext trusting(String file) throws Exception {
        var store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var certificate = new FileInputStream(file)) {
            var factory = CertificateFactory.getInstance("X.509");
            store.setCertificateEntry("ca", factory.generateCertificate(certificate));
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context;
    }
}
