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

require_once __DIR__ . '/Cluster.php';
require_once __DIR__ . '/Identity.php';
require_once __DIR__ . '/Wire.php';
require_once __DIR__ . '/Wish.php';

const ANSWER_TIME = 10.0; // seconds that the server may take to answer a command that does not wait
const PARKED_TIME = 15.0; // the same for a connection that is new: without a leader a cluster holds it for 10 s

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

/** A server, or a cluster of them. */
final class GetLock
{
    private readonly Cluster $cluster;
    /** Refusals that another connection may not meet. */
    private const PASSING = ['SHUTDOWN', 'LIMIT', 'UNAVAILABLE'];

    /** @var list<string> */
    private readonly array $login;
    private readonly Identity $identity;

    /**
     * @param string|list<string> $host one address or, of a cluster, several: 'a:3305,b:3305' or an array. If a node
     *     does not answer or cannot serve, the next one is tried. The last good one is the first.
     * @param int $port that of each host without one
     * @param array<string, mixed>|null $tls PHP's SSL context options; null is no TLS
     * @param float $retry for how many seconds a server that is away is tried
     * @param float|null $stopWithin how many seconds the work needs to stop: so much before others can be
     *     granted the lock it counts as lost. By default two fifths of what the server promises. In a cluster it is a
     *     fifth of the longest promise, and at most three tenths of it.
     * @param string|null $name what the server's lists call this client; null is user@host[pid] program, and '' is none
     * @param string|null $note a line for people, beside the name
     */
    public function __construct(
        string|array $host = '127.0.0.1',
        int $port = 3305,
        ?string $user = null,
        #[\SensitiveParameter] string $password = '',
        private readonly ?array $tls = null,
        private readonly float $retry = 30,
        private readonly ?float $stopWithin = null,
        ?string $name = null,
        ?string $note = null,
    ) {
        $this->cluster = new Cluster(Address::ofHosts($host, $port));
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
        $round = $this->cluster->round();
        for ($attempt = 0;;) {
            [$wire, $address, $patience] = [null, array_shift($round), $this->cluster->firstAnswerTime()];
            try {
                $wire = new Wire($address, $this->tls, $patience, $this->cluster->connectTime());
                $session = new Session($wire, $this->cluster, $this->stopWithin);
                return $this->queue($session, $address, $wish, $deadline);
            } catch (Broken | Refused $error) {
                $awaySince = $wire ? Clock::now() : $awaySince;
                $passes = $error instanceof Broken || in_array($error->symbol, self::PASSING, true);
                if ($passes && $round) {
                    continue; // each address has its turn before a pause
                }
                $round = $this->cluster->round();
                $pause = min(2, 0.05 * 2 ** min($attempt++, 6)) * random_int(500, 1000) / 1000;
                if (!$passes || Clock::now() + $pause > min($deadline, $awaySince + $this->retry)) {
                    throw $error;
                }
                usleep((int) ($pause * 1e6));
            }
        }
    }

    /** Waits for the lock. However that ends, a connection without a guard leaves the queue at once. */
    private function queue(Session $session, Address $address, Wish $wish, float $deadline): ?Guard
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
            $patience = $this->cluster->firstAnswerTime();
            $this->login && $session->answer($patience);
            $introduction && $session->introduced($patience);
            $number = Session::number($session->answer($patience));
            $this->cluster->served($address);
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
    /** That of the leader of a cluster that has answered. */
    private ?int $term = null;

    public function __construct(
        private readonly Wire $wire,
        private readonly Cluster $cluster,
        private readonly ?float $stopWithin,
    ) {
    }

    public function ask(string ...$lines): void
    {
        if (in_array('KEEPALIVE', $lines, true)) {
            $this->asked = Clock::now(); // before it is sent: what the server promises cannot begin earlier
        }
        $this->wire->send(implode("\n", $lines) . "\n");
    }

    /** The reply to a command that does not wait. */
    public function answer(float $patience = ANSWER_TIME): string
    {
        return $this->reply(Clock::now() + $patience) ?? throw new Broken('the server does not answer');
    }

    /** An older server does not know the command, and shows no names. */
    public function introduced(float $patience): void
    {
        try {
            $line = $this->answer($patience);
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
        if ($this->isEndless() || $now < min($this->since + $this->every(), $this->promisedUntil())) {
            return;
        }
        $this->asked ?? $this->ask('KEEPALIVE');
        // Late is not lost: while the session lives, its locks are held. But then only a fast answer counts.
        $end = $this->promisedUntil();
        $until = $now < $end ? $end : $this->asked + $this->usual() - $this->timeToStop();
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
            $this->asked !== null => $this->asked + $this->usual(),
            $this->isEndless() => INF,
            default => $this->since + $this->every(),
        };
    }

    private function promisedUntil(): float
    {
        return $this->isEndless() ? INF : $this->since + $this->left - $this->timeToStop() - Clock::STEP;
    }

    /** Whether a server alone has promised nothing, so that nothing can run out. */
    private function isEndless(): bool
    {
        return $this->left === 0.0 && $this->term === null;
    }

    /** A promise; of a cluster, in which they differ, the longest one stands for the rest. */
    private function usual(): float
    {
        return $this->term === null ? $this->left : $this->cluster->longest;
    }

    private function every(): float
    {
        return $this->term === null ? $this->left / 5 : $this->cluster->every();
    }

    private function timeToStop(): float
    {
        return $this->stopWithin ?? ($this->term === null ? $this->left * 2 / 5 : $this->cluster->timeToStop());
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
        if (preg_match('/ term=(\S*)/', $line, $term) === 1) {
            $this->promiseOfCluster((float) $match[1], self::number($term[1]));
            return;
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

    /** A connection is of one term. An earlier promise still holds, also if this one is shorter. */
    private function promiseOfCluster(float $left, int $term): void
    {
        if (($this->term ?? $term) !== $term || !$this->cluster->takes($term, $left)) {
            throw new Broken(Cluster::OUTDATED);
        }
        $this->cluster->check($this->stopWithin);
        $earlier = $this->term === null ? 0.0 : $this->since + $this->left - $this->asked;
        [$this->since, $this->asked, $this->left] = [$this->asked, null, max($left, $earlier)];
        $this->term = $term;
    }
}
