<?php
/** A connection, and what it needs: a clock, and an end with the script. GetLock.php and Leases.php need this file. */
declare(strict_types=1);

namespace GetLock;

/**
 * A connection, which ends for all processes when the one that made it ends it. It never blocks but in select(), so
 * that the handlers of signals run while a script waits.
 *
 * @internal
 */
final class Wire
{
    /** How many bytes a line or an answer of HTTP has at most. */
    private const MOST = 65536;

    /** @var resource */
    private $stream;
    private string $unread = '';

    /**
     * @param array<string, mixed>|null $tls
     * @param float $connectTime for the connection alone. The handshake of TLS has the whole patience: a cluster
     *     without a leader answers none.
     */
    public function __construct(Address $place, ?array $tls, float $patience, float $connectTime)
    {
        [$host, $port] = [$place->host, $place->port];
        $until = Clock::now() + $patience;
        $patience = min($patience, $connectTime);
        $address = str_contains($host, ':') ? '[' . trim($host, '[]') . ']' : $host;
        $options = stream_context_create(['socket' => ['tcp_nodelay' => true]]);
        $flags = STREAM_CLIENT_CONNECT;
        $stream = @stream_socket_client("tcp://$address:$port", $code, $text, $patience, $flags, $options);
        $stream = self::prepared($stream ?: throw new Broken("cannot connect to $address:$port: $text"));
        $this->stream = $stream ?? throw new Broken('no descriptor is free for a connection');
        stream_set_blocking($stream, false); // for all processes: nobody changes it later
        $process = getmypid();
        AtEnd::add($this, static fn () => self::close($stream, $tls !== null, $process === getmypid()));
        try {
            $tls === null || $this->shakeHands($tls + ['peer_name' => trim($host, '[]')], $until);
        } catch (\Throwable $error) {
            $this->end();
            throw $error;
        }
    }

    public function __destruct()
    {
        $this->end();
    }

    public function send(string $bytes): void
    {
        if (!is_resource($this->stream) || @fwrite($this->stream, $bytes) !== strlen($bytes)) {
            throw new Broken('the connection ended');
        }
    }

    /** The next line; null if none has come until then. */
    public function line(float $until): ?string
    {
        for ($inTime = true; ($end = strpos($this->unread, "\n")) === false; $inTime = $this->readMore($until)) {
            if (!$inTime) {
                return null;
            }
        }
        $line = substr($this->unread, 0, $end);
        $this->unread = substr($this->unread, $end + 1);
        return $line;
    }

    /** All that comes until the other side closes. */
    public function rest(float $until): string
    {
        try {
            while ($this->readMore($until)) {
                // It is in $unread.
            }
        } catch (Broken) {
            return $this->unread;
        }
        throw new Broken('the server does not answer');
    }

    /** Asks for nothing more: who still waits leaves the queue, and is told how that ended. */
    public function finish(): void
    {
        is_resource($this->stream) && @stream_socket_shutdown($this->stream, STREAM_SHUT_WR);
    }

    /** Ends the connection. A forked child lets go of its copy, and sends nothing and ends nothing. */
    public function end(): void
    {
        AtEnd::take($this)?->__invoke();
    }

    /** Reads what there is, or waits until there is something. Whether there is time for more. */
    private function readMore(float $until): bool
    {
        is_resource($this->stream) || throw new Broken('the connection has been closed here');
        $piece = (string) @fread($this->stream, 8192);
        $piece !== '' || !feof($this->stream) || throw new Broken('the connection ended');
        $this->unread .= $piece;
        strlen($this->unread) <= self::MOST || throw new Broken('the server says more than it may');
        $wait = $until - Clock::now();
        $piece === '' && $wait > 0 && $this->waitToRead(min($wait, 3600.0));
        return $wait > 0;
    }

    private function waitToRead(float $seconds): void
    {
        [$read, $none, $whole] = [[$this->stream], null, (int) $seconds];
        if (@stream_select($read, $none, $none, $whole, (int) (($seconds - $whole) * 1e6)) === false) {
            usleep(10_000); // a signal came, or the script has more open files than select() can look at
        }
    }

    /** @param array<string, mixed> $tls */
    private function shakeHands(array $tls, float $until): void
    {
        stream_context_set_option($this->stream, ['ssl' => $tls]);
        error_clear_last();
        while (($done = @stream_socket_enable_crypto($this->stream, true, STREAM_CRYPTO_METHOD_TLS_CLIENT)) === 0) {
            Clock::now() < $until || throw new Broken('no TLS: the server does not answer');
            $this->waitToRead(max(0.0, $until - Clock::now()));
        }
        $done || throw new Broken('no TLS: ' . (error_get_last()['message'] ?? 'the connection ended'));
    }

    /**
     * The stream with a socket that commands do not inherit, and that notices within half a minute that the other
     * side has vanished. PHP opens sockets without close-on-exec and cannot set it later; but a socket that is sent to
     * oneself can be received with it. Null if no descriptor is free for that.
     *
     * @param resource $stream
     * @return resource|null
     */
    private static function prepared($stream)
    {
        if (!function_exists('socket_import_stream') || !defined('MSG_CMSG_CLOEXEC')) {
            return $stream;
        }
        $socket = socket_import_stream($stream);
        socket_set_option($socket, SOL_SOCKET, SO_KEEPALIVE, 1);
        foreach (['TCP_KEEPIDLE' => 10, 'TCP_KEEPINTVL' => 5, 'TCP_KEEPCNT' => 3] as $option => $value) {
            defined($option) && socket_set_option($socket, SOL_TCP, constant($option), $value);
        }
        $rights = [['level' => SOL_SOCKET, 'type' => SCM_RIGHTS, 'data' => [$stream]]];
        $received = ['buffer_size' => 1, 'controllen' => socket_cmsg_space(SOL_SOCKET, SCM_RIGHTS, 1)];
        $sent = @socket_create_pair(AF_UNIX, SOCK_DGRAM, 0, $pair)
            && @socket_sendmsg($pair[0], ['iov' => ['.'], 'control' => $rights], 0)
            && @socket_recvmsg($pair[1], $received, MSG_CMSG_CLOEXEC);
        $copy = $sent ? $received['control'][0]['data'][0] ?? null : null; // which may be missing, without an error
        return $copy ? socket_export_stream($copy) ?: null : null;
    }

    /**
     * Not of an object, since a script that runs out of memory loses those without a word.
     *
     * @param resource $stream
     */
    private static function close($stream, bool $hasTls, bool $isOurs): void
    {
        if ($isOurs) {
            $hasTls && @stream_socket_enable_crypto($stream, false);
            @stream_socket_shutdown($stream, STREAM_SHUT_RDWR); // children may have the socket, too
        } elseif ($hasTls && !self::muzzle($stream)) {
            return; // closing would say goodbye in the name of the parent
        }
        fclose($stream);
    }

    /**
     * Lets what PHP's TLS will say when it closes this copy go nowhere. False if that cannot be.
     *
     * @param resource $stream
     */
    private static function muzzle($stream): bool
    {
        $link = 'socket:[' . fstat($stream)['ino'] . ']';
        $numbers = @scandir('/proc/self/fd') ?: [];
        $number = current(array_filter($numbers, fn (string $fd) => @readlink("/proc/self/fd/$fd") === $link));
        try {
            $libc = \FFI::cdef('int open(const char *path, int flags, ...); int dup2(int from, int to);');
            return $number !== false && $libc->dup2($libc->open('/dev/null', 1), (int) $number) >= 0;
        } catch (\Throwable) { // the extension is not there, or may not be used
            return false;
        }
    }
}

/**
 * What has to be ended with the script at the latest, and of what variables are not enough: children have them, too.
 *
 * @internal
 */
final class AtEnd
{
    /** @var array<int, \Closure(): mixed>|null by the objects that they end */
    private static ?array $open = null;

    public static function add(object $whose, \Closure $end): void
    {
        if (self::$open === null) {
            // Registered at the end, it runs after the script's own functions, which may need the lock.
            register_shutdown_function(static fn () => register_shutdown_function(self::run(...)));
        }
        self::$open[spl_object_id($whose)] = $end;
    }

    /** It need not be ended any more. */
    public static function take(object $whose): ?\Closure
    {
        $end = self::$open[spl_object_id($whose)] ?? null;
        unset(self::$open[spl_object_id($whose)]);
        return $end;
    }

    private static function run(): void
    {
        while ($end = array_pop(self::$open)) { // the last first: it may need those before it
            $end();
        }
    }
}

/**
 * Seconds of a clock that never is set, and goes on while the machine is suspended where it is known how to read that.
 *
 * @internal
 */
final class Clock
{
    /** How coarse it is. */
    public const STEP = 0.01;

    /** Before it no other moment is told. */
    private static float $last = 0.0;
    private static ?bool $hasUptime = null;
    /** @var resource|false */
    private static $uptime = false;
    private static int|false $process = false;

    /** @throws Broken if it cannot be read: then nobody knows whether a lock is held */
    public static function now(): float
    {
        self::$hasUptime ??= PHP_OS_FAMILY === 'Linux' && @is_readable('/proc/uptime');
        if (!self::$hasUptime) {
            return hrtime(true) / 1e9;
        }
        if (!is_resource(self::$uptime) || self::$process !== getmypid()) {
            // Not each time, since no descriptor may be free. But a child would read at the position of its parent.
            [self::$uptime, self::$process] = [@fopen('/proc/uptime', 're'), getmypid()];
        }
        $now = self::$uptime && rewind(self::$uptime) ? (float) @fread(self::$uptime, 64) : 0.0;
        $now > 0.0 || throw new Broken('the clock cannot be read');
        return self::$last = max(self::$last, $now);
    }
}
