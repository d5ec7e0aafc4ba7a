<?php
/**
 * Locks of getlockd, by its line protocol. Copy this folder: it needs PHP 8.1 and nothing else.
 * Leases, for those that hold no connection, are in Leases.php.
 *
 *     $locks = new GetLock\GetLock('127.0.0.1', 3305);
 *     $count = $locks->lock('nightly', 10, function (GetLock\Guard $guard) use ($rows, $store): int {
 *         foreach ($rows as $row) {
 *             $guard->held() || throw $guard->lost();
 *             $store->write($row, $guard->fencingToken);
 *         }
 *         return count($rows);
 *     });
 *
 * WHEN A LOCK IS LOST. PHP does one thing at a time, so nothing can tell a script while it works: the script
 * asks, with held() or lost(). The server promises a lock for some time from each question on (`left`, 25 s by
 * default). A script that calls held() at least each fifth of that (5 s) learns of a loss before anybody else
 * is granted the lock, and `stopWithin` seconds earlier. So that nobody is granted it in these seconds, the connection
 * stays open until the guard is released or gone, or asked again when they are over. A script that asks more rarely
 * keeps its lock as long as its connection lives. Its next question tells whether that was so, but it may be told
 * late. Send the fencing token with what you write, then a late write harms nobody.
 *
 * WHEN A LOCK IS FREE. release(), the end of lock(), the end of the guard's last variable and the end of the
 * script free a lock at once, by exit() and a fatal error too, even if a child of the script still has the socket.
 * A script that is killed by a signal has no end of its own:
 *   - Commands (exec(), proc_open(), ...) do not inherit the socket if PHP has the extension `sockets`. Without
 *     that extension they do inherit it, and a command that outlives a killed script keeps its lock.
 *   - A child of pcntl_fork() always has the socket. Such a child that outlives a killed script keeps its lock,
 *     unless the child has called release() or has dropped the guard.
 *
 * FORKS. A guard belongs to the process that took it. In a child of pcntl_fork() held() is false, and nothing that
 * the child does frees the parent's lock. Over TLS that needs the extension `FFI`, which the command line of Debian
 * has: without it PHP itself ends the TLS connection when the child ends, unless the child ends by SIGKILL.
 */
declare(strict_types=1);

namespace GetLock;

require_once __DIR__ . '/Identity.php';
require_once __DIR__ . '/Wish.php';

const ANSWER_TIME = 10.0; // seconds that the server may take to answer a command that does not wait

/** The server is away, or the connection broke. */
class Broken extends \RuntimeException
{
}

/** Others have the lock, and the timeout is over. */
final class NotGranted extends \RuntimeException
{
}

/** The server refused. The symbol is for programs, such as BAD_NAME or KILLED; the message is for people. */
class Refused extends \RuntimeException
{
    public function __construct(public readonly ?string $symbol, string $text)
    {
        parent::__construct($text);
    }
}

/** The lock is gone. The symbol is the server's reason. It is null if the connection broke or the time ran out. */
final class Lost extends Refused
{
}

/** A server. */
final class GetLock
{
    /** @var list<string> */
    private readonly array $login;
    private readonly Identity $identity;

    /**
     * @param array<string, mixed>|null $tls PHP's SSL context options; null is no TLS
     * @param float $retry for how many seconds a server that is away is tried
     * @param float|null $stopWithin how many seconds the work needs to stop: so much before others can be
     *     granted the lock it counts as lost. By default two fifths of what the server promises.
     * @param string|null $name what the server's lists call this client; null is user@host[pid] program, and '' is none
     * @param string|null $note a line for people, beside the name
     */
    public function __construct(
        private readonly string $host = '127.0.0.1',
        private readonly int $port = 3305,
        ?string $user = null,
        #[\SensitiveParameter] string $password = '',
        private readonly ?array $tls = null,
        private readonly float $retry = 30,
        private readonly ?float $stopWithin = null,
        ?string $name = null,
        ?string $note = null,
    ) {
        $this->identity = new Identity($name, $note);
        Wish::seconds('retry', $retry);
        Wish::seconds('stopWithin', $stopWithin ?? 0.0);
        $this->login = $user === null ? [] : ['AUTH ' . Session::quoted($user) . ' ' . Session::quoted($password)];
    }

    /**
     * Takes a lock. The guard frees it with release(), or when the guard's last variable is gone.
     *
     * @param string $name
     * @param int|float|null $timeout seconds; 0 tries; null, INF and what is negative wait forever
     * @param bool $shared beside others that share it
     * @throws NotGranted if others have the lock until the timeout is over
     * @throws Refused if the server refuses, or somebody ended the wait
     * @throws Broken if the server is away
     */
    public function acquire(mixed $name, mixed $timeout = null, mixed $shared = false): Guard
    {
        $wish = new Wish($name, $timeout, $shared);
        return $this->take($wish) ?? throw $wish->notGranted();
    }

    /**
     * Takes a lock if it is free now. Null if it is not.
     *
     * @param string $name
     * @param bool $shared
     * @throws Refused
     * @throws Broken
     */
    public function tryLock(mixed $name, mixed $shared = false): ?Guard
    {
        return $this->take(new Wish($name, 0, $shared));
    }

    /**
     * Runs the body with the lock, and returns its result. Without the lock the body does not run.
     *
     * @template T
     * @param string $name
     * @param int|float|null $timeout as with acquire()
     * @param callable(Guard): T $body
     * @param bool $shared
     * @return T
     * @throws NotGranted
     * @throws Lost if the lock was lost before the body ended. An error of the body stays, with Lost as its cause.
     * @throws Refused
     * @throws Broken
     */
    public function lock(mixed $name, mixed $timeout, callable $body, mixed $shared = false): mixed
    {
        return $this->acquire($name, $timeout, $shared)->during($body);
    }

    /** Nothing is held yet, so a wait that breaks may connect and queue again. */
    private function take(Wish $wish): ?Guard
    {
        $awaySince = Clock::now();
        $deadline = $awaySince + $wish->timeout;
        for ($attempt = 0;; $attempt++) {
            $wire = null;
            try {
                $wire = new Wire($this->host, $this->port, $this->tls);
                return $this->queue(new Session($wire, $this->stopWithin), $wish, $deadline);
            } catch (Broken | Refused $error) {
                $awaySince = $wire ? Clock::now() : $awaySince;
                $pause = min(2, 0.05 * 2 ** min($attempt, 6)) * random_int(500, 1000) / 1000;
                $passes = $error instanceof Broken || in_array($error->symbol, ['SHUTDOWN', 'LIMIT'], true);
                if (!$passes || Clock::now() + $pause > min($deadline, $awaySince + $this->retry)) {
                    throw $error;
                }
                usleep((int) ($pause * 1e6));
            }
        }
    }

    /** Waits for the lock. However that ends, a connection without a guard leaves the queue at once. */
    private function queue(Session $session, Wish $wish, float $deadline): ?Guard
    {
        $guard = null;
        try {
            $left = max(0.0, $deadline - Clock::now());
            $name = Session::quoted($wish->name);
            $verb = $wish->shared ? 'GET_SHARED_LOCK' : 'GET_LOCK';
            $time = $left === INF ? '-1' : sprintf('%.9F', $left);
            $take = ['CONNECTION_ID', 'KEEPALIVE', "$verb $name $time", "FENCING_TOKEN $name"];
            $introduction = $this->identity->lines();
            $session->ask(...$this->login, ...$introduction, ...$take);
            $this->login && $session->answer();
            $introduction && $session->introduced();
            $number = Session::number($session->answer());
            $granted = $session->grant($left + ANSWER_TIME);
            if ($granted === '1') {
                $token = Session::number($session->answer());
                $session->isPromised() || $session->confirm();
                $guard = new Guard($wish->name, $token, $number, $session);
            }
            return $guard ?? ($granted === '0' ? null : throw Session::nonsense($granted));
        } finally {
            $guard || $session->end();
        }
    }
}

/** What a guard and a lease have in common. */
abstract class Hold
{
    private ?Lost $lost = null;
    private bool $released = false;
    private readonly int $process;

    /** @internal */
    public function __construct(public readonly string $name, public readonly int $fencingToken)
    {
        $this->process = (int) getmypid();
    }

    /** Returns if the lock is held, and throws Broken or Refused if it is not. */
    abstract protected function confirm(): void;

    /** Frees the lock. Throws if it had been lost. */
    abstract protected function free(): void;

    /** Lets go of what belongs to the lock: at once, or as soon as the work needs no time to stop. */
    abstract protected function close(bool $atOnce): void;

    /**
     * Whether the lock is held now. This asks the server if what it said last is old, and waits for its answer
     * no longer than it takes to be sure that the lock is lost.
     */
    final public function held(): bool
    {
        return !$this->released && $this->isOurs() && $this->lost() === null;
    }

    /** Why the lock is lost; null while it is held. This asks as held() does. Once set it stays. */
    final public function lost(): ?Lost
    {
        if (!$this->released && $this->isOurs()) {
            try {
                $this->lost ? $this->close(false) : $this->confirm();
            } catch (Broken | Refused $error) {
                $this->lose($error);
            }
        }
        return $this->lost;
    }

    /** Frees the lock. True if it was held until now, false if it had been lost. In a forked child it does nothing. */
    final public function release(): bool
    {
        try {
            if (!$this->lost && !$this->released && $this->isOurs()) {
                $this->free();
                $this->released = true;
            }
        } catch (Broken | Refused $error) {
            $this->lose($error);
        } finally {
            $this->close(true);
        }
        return $this->released;
    }

    /** @internal */
    final public function during(callable $body): mixed
    {
        try {
            $result = $body($this);
        } catch (\Throwable $error) {
            $this->release();
            $this->lost && self::blame($error, $this->lost);
            throw $error;
        }
        $this->release();
        return $this->lost ? throw $this->lost : $result;
    }

    /** A forked child has a copy of everything, and the lock is its parent's. */
    final protected function isOurs(): bool
    {
        return $this->process === getmypid();
    }

    /** @return array<string, mixed> what var_dump() shows */
    public function __debugInfo(): array
    {
        $facts = ['name' => $this->name, 'fencingToken' => $this->fencingToken];
        return $facts + ($this instanceof Guard ? ['session' => $this->session] : []);
    }

    private function lose(Broken|Refused $why): void
    {
        $symbol = $why instanceof Refused ? $why->symbol : null;
        $text = "the lock $this->name is lost ({$why->getMessage()}); others may have it: stop, and take it again";
        $this->lost = new Lost($symbol, $text);
        $this->close(false);
    }

    /** Makes the loss the first cause of an error that stays. PHP sets causes in constructors only. */
    private static function blame(\Throwable $error, Lost $lost): void
    {
        while ($error !== $lost && $error->getPrevious()) {
            $error = $error->getPrevious();
        }
        if ($error !== $lost) {
            $class = $error instanceof \Exception ? \Exception::class : \Error::class;
            (new \ReflectionProperty($class, 'previous'))->setValue($error, $lost);
        }
    }
}

/** A lock that is held by a connection. */
final class Guard extends Hold
{
    /**
     * @internal
     * @param int $session the server's number of the connection, as LOCKS and SESSIONS show it
     */
    public function __construct(
        string $name,
        int $fencingToken,
        public readonly int $session,
        private readonly Session $connection,
    ) {
        parent::__construct($name, $fencingToken);
    }

    protected function confirm(): void
    {
        $this->connection->confirm();
    }

    protected function free(): void
    {
        $this->connection->release($this->name);
    }

    protected function close(bool $atOnce): void
    {
        $this->connection->end($atOnce);
    }
}

/**
 * A session of the line protocol, and what the server has promised to it.
 *
 * @internal
 */
final class Session
{
    /** When the KEEPALIVE was sent that is not answered yet. */
    private ?float $asked = null;
    /** When the last one was sent that has been answered. */
    private float $since = -INF;
    /** For how long from there on nobody else is granted what this session holds; 0 if there is no promise. */
    private float $left = ANSWER_TIME;

    public function __construct(private readonly Wire $wire, private readonly ?float $stopWithin)
    {
    }

    public function ask(string ...$lines): void
    {
        if (in_array('KEEPALIVE', $lines, true)) {
            $this->asked = Clock::now(); // before it is sent: what the server promises cannot begin earlier
        }
        $this->wire->send(implode("\n", $lines) . "\n");
    }

    /** The reply to a command that does not wait. */
    public function answer(): string
    {
        return $this->reply(Clock::now() + ANSWER_TIME) ?? throw new Broken('the server does not answer');
    }

    /** An older server does not know the command, and shows no names. */
    public function introduced(): void
    {
        try {
            $line = $this->answer();
            $line === '1' || throw self::nonsense($line);
        } catch (Refused $refused) {
            $refused->symbol === 'UNKNOWN_COMMAND' || throw $refused;
        }
    }

    /** The reply to a command that may wait so long. A server that is away meanwhile is noticed. */
    public function grant(float $patience): string
    {
        $until = Clock::now() + $patience;
        while (true) {
            $line = $this->line(min($until, $this->nextLook()));
            if ($line !== null && !self::isPromise($line)) {
                return $line;
            }
            if ($line === null) {
                $isAway = $this->asked !== null || Clock::now() >= $until;
                $isAway ? throw new Broken('the server does not answer') : $this->ask('KEEPALIVE');
            }
        }
    }

    /** Whether nobody else can be granted what is held, with the time to stop. */
    public function isPromised(): bool
    {
        return Clock::now() < $this->promisedUntil();
    }

    /** Returns if what is held is still held, and throws if not. It asks the server if the last answer is old. */
    public function confirm(): void
    {
        $this->hear();
        $now = Clock::now();
        if ($this->left === 0.0 || $now < $this->since + $this->left / 5) {
            return;
        }
        $this->asked ?? $this->ask('KEEPALIVE');
        // Late is not lost: while the session lives, its locks are held. But then only a fast answer counts.
        $end = $this->promisedUntil();
        $until = $now < $end ? $end : $this->asked + $this->left - $this->timeToStop();
        $line = $this->line($until);
        $line === null || self::isPromise($line) || throw self::nonsense($line);
        if ($line === null || !$this->isPromised()) {
            throw new Broken('the server has not answered in time');
        }
    }

    public function release(string $name): void
    {
        $this->hear(); // why the lock is lost, which sending might hide
        $this->ask('RELEASE_LOCK ' . self::quoted($name));
        if ($this->answer() !== '1') {
            throw new Broken('the server says that it was not held');
        }
    }

    /** The server may be there still, and would free the lock at the connection's end: that waits for the work. */
    public function end(bool $atOnce = true): void
    {
        try {
            $isOver = $atOnce || Clock::now() >= $this->since + $this->left + Clock::STEP;
        } catch (Broken) {
            $isOver = false; // there is no clock
        }
        $isOver && $this->wire->end();
    }

    /** @throws Broken if it is none */
    public static function number(string $line): int
    {
        return preg_match('/^\d{1,18}$/D', $line) ? (int) $line : throw self::nonsense($line);
    }

    public static function nonsense(string $line): Broken
    {
        return new Broken("the server said what is no answer: '" . substr($line, 0, 80) . "'");
    }

    /** One word, whatever is in it; no text can be a second line. */
    public static function quoted(string $text): string
    {
        return "'" . strtr($text, ['\\' => '\\\\', "'" => "''", "\n" => '\\n', "\r" => '\\r', "\0" => '\\0']) . "'";
    }

    /** When a server that waits with us should be asked, or should have answered. */
    private function nextLook(): float
    {
        return match (true) {
            $this->asked !== null => $this->asked + $this->left,
            $this->left === 0.0 => INF,
            default => $this->since + $this->left / 5,
        };
    }

    private function promisedUntil(): float
    {
        return $this->left === 0.0 ? INF : $this->since + $this->left - $this->timeToStop() - Clock::STEP;
    }

    private function timeToStop(): float
    {
        return $this->stopWithin ?? $this->left * 2 / 5;
    }

    /** Notes what has come. While nothing is asked that can be an answer to KEEPALIVE, or an error, which is thrown. */
    private function hear(): void
    {
        $line = $this->reply(-INF);
        $line === null || throw self::nonsense($line);
    }

    /** The next reply that is not to KEEPALIVE, which may come in between; null if none has come until then. */
    private function reply(float $until): ?string
    {
        do {
            $line = $this->line($until);
        } while ($line !== null && self::isPromise($line));
        return $line;
    }

    private static function isPromise(string $line): bool
    {
        return str_starts_with($line, 'KEEPALIVE ');
    }

    /** The next line. What KEEPALIVE says is noted, and ERROR is thrown. */
    private function line(float $until): ?string
    {
        $line = $this->wire->line($until);
        $words = explode(' ', $line ?? '', 3);
        if ($words[0] === 'ERROR') {
            throw new Refused($words[1] ?? null, $words[2] ?? '');
        }
        if ($line !== null && self::isPromise($line)) {
            $this->promise($line);
        }
        return $line;
    }

    private function promise(string $line): void
    {
        $isPromise = preg_match('/^KEEPALIVE left=(\d{1,9}(\.\d+)?)(?: [a-z_]+=.*)?$/D', $line, $match) === 1;
        if ($this->asked === null || !$isPromise) {
            throw self::nonsense($line);
        }
        [$left, $isFirst] = [(float) $match[1], $this->since === -INF];
        [$stop, $most] = [$this->stopWithin ?? $left * 2 / 5, $left * 4 / 5];
        if ($stop >= $most && !($isFirst && $left === 0.0)) {
            $text = "stopWithin is $stop s, and the server promises a lock for $left s at a time";
            throw $isFirst
                ? new \InvalidArgumentException("$text: take less than $most s, or let the server promise more")
                : new Broken($text); // the connection stays open as long as was promised before
        }
        [$this->since, $this->asked, $this->left] = [$this->asked, null, $left];
    }
}

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

    /** @param array<string, mixed>|null $tls */
    public function __construct(string $host, int $port, ?array $tls, float $patience = ANSWER_TIME)
    {
        $until = Clock::now() + $patience;
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
