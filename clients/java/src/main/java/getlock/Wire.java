package getlock;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolException;
import java.net.Socket;
import java.net.SocketException;
import java.net.StandardSocketOptions;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import jdk.net.ExtendedSocketOptions;

/** A connection, with TLS or without. One thread opens it and reads; any thread may write to it or cut it. */
final class Wire {
    /** How long a server may take to answer a command that does not wait. */
    static final long ANSWER_TIME = TimeUnit.SECONDS.toNanos(10);

    /** The same for a connection that is new: without a leader a cluster holds it for 10 s. */
    static final long PARKED_TIME = TimeUnit.SECONDS.toNanos(15);

    private static final int LONGEST_LINE = 65536;

    private final String host;
    private final int port;
    private final SSLContext tls;
    private final int connectMillis;
    private volatile boolean isCut;
    private volatile Socket plain;
    private volatile Socket socket;
    private InputStream input;

    Wire(Address address, SSLContext tls, long connectTime) {
        host = address.host();
        port = address.port();
        this.tls = tls;
        connectMillis = (int) TimeUnit.NANOSECONDS.toMillis(connectTime);
    }

    void open() throws IOException {
        connect();
        plain.setSoTimeout((int) TimeUnit.NANOSECONDS.toMillis(PARKED_TIME));
        socket = tls == null ? plain : encrypted();
        plain.setSoTimeout(0);
        input = new BufferedInputStream(socket.getInputStream());
    }

    /** To the first of the host's addresses that answers. */
    private void connect() throws IOException {
        IOException failed = null;
        for (InetAddress address : InetAddress.getAllByName(host)) {
            try {
                connect(new InetSocketAddress(address, port));
                return;
            } catch (IOException error) {
                cut(plain);
                failed = error;
            }
        }
        throw failed;
    }

    private void connect(InetSocketAddress address) throws IOException {
        Socket next = new Socket();
        plain = next;
        if (isCut) throw new SocketException("the connection was given up");
        next.connect(address, connectMillis);
        next.setTcpNoDelay(true);
        // A server that has vanished is found within half a minute.
        next.setOption(StandardSocketOptions.SO_KEEPALIVE, true);
        if (next.supportedOptions().contains(ExtendedSocketOptions.TCP_KEEPIDLE)) {
            next.setOption(ExtendedSocketOptions.TCP_KEEPIDLE, 10);
            next.setOption(ExtendedSocketOptions.TCP_KEEPINTERVAL, 5);
            next.setOption(ExtendedSocketOptions.TCP_KEEPCOUNT, 3);
        }
    }

    private Socket encrypted() throws IOException {
        var encrypted = (SSLSocket) tls.getSocketFactory().createSocket(plain, host, port, true);
        var parameters = encrypted.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        encrypted.setSSLParameters(parameters);
        encrypted.startHandshake();
        return encrypted;
    }

    /** Never waits, since little is sent: a buffer of the system takes it. */
    void send(String text) throws IOException {
        socket.getOutputStream().write(text.getBytes(StandardCharsets.UTF_8));
    }

    /** Without its end. */
    String line() throws IOException {
        var line = new ByteArrayOutputStream();
        for (int next = input.read(); next != '\n'; next = input.read()) {
            if (next < 0) throw new EOFException("the server closed the connection");
            if (line.size() == LONGEST_LINE) throw new ProtocolException("the server sent a line without an end");
            line.write(next);
        }
        String text = line.toString(StandardCharsets.UTF_8);
        return text.endsWith("\r") ? text.substring(0, text.length() - 1) : text;
    }

    /** Up to so many bytes, or all that come. */
    byte[] bytes(int count) throws IOException {
        return input.readNBytes(count);
    }

    /** Sends no more, and may still read. */
    void hangUp() {
        try {
            Socket now = plain;
            if (now == null) isCut = true;
            else now.shutdownOutput();
        } catch (IOException alreadyOver) {
            cut();
        }
    }

    /**
     * Ends it at once, from any thread, in whatever state it is. The socket below TLS is closed: a goodbye of TLS
     * might have to wait.
     */
    void cut() {
        isCut = true;
        cut(plain);
    }

    private static void cut(Socket socket) {
        try {
            if (socket != null) socket.close();
        } catch (IOException ignored) {
            // It is closed all the same.
        }
    }
}
