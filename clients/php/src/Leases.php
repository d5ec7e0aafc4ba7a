<?php
/**
 * Leases of getlockd, over HTTP: locks that no connection holds. Copy this folder.
 *
 *     $leases = new GetLock\Leases('http://127.0.0.1:3308');
 *     $lease = $leases->acquire('nightly', 10, ttl: 60);
 *     foreach ($rows as $row) {
 *         $lease->held() || throw $lease->lost();
 *         $store->write($row, $lease->fencingToken);
 *     }
 *     $lease->release();
 *
 * A lease runs for its time to live (`ttl`, in seconds) from each heartbeat on. PHP does one thing at a time, so the
 * script sends the heartbeats: held() and lost() send one when the last is older than a third of `ttl`, and
 * heartbeat() sends one at once. Call held() at least each third of `ttl`. A lease that nobody releases is free
 * when its time is over: acquire() and tryLock() do not release it at the end of the script, lock() does.
 */
declare(strict_types=1);

namespace GetLock;

/** A request broke, or was not even sent, and nobody knows its answer. */
final class LostAnswer extends Broken
{
    public function __construct(string $text, public readonly bool $wasSent)
    {
        parent::__construct($text);
    }
}

/** A server, or a cluster of them, by their URLs, and who takes leases there. */
final class Leases
{
    private readonly Api $api;
    private readonly Identity $identity;

    /**
     * @param string|list<string> $url one base URL or, for the nodes of a cluster, several: with commas between them,
     *     or an array
     * @param array<string, mixed>|null $tls PHP's SSL context options, for https
     * @param float|null $stopWithin how many seconds the work needs to stop: so much before its time is over
     *     a lease counts as lost. By default a fifth of `ttl`.
     * @param float $retry for how many seconds a server that is away is tried. A request whose answer was lost is sent
     *     again with the same id: it gets the lease that was granted, or its place in the queue.
     * @param string|null $name what the server's lists call this client; null is user@host[pid] program, and '' is none
     * @param string|null $note a line for people, beside the name
     */
    public function __construct(
        string|array $url = 'http://127.0.0.1:3308',
        ?string $user = null,
        #[\SensitiveParameter] string $password = '',
        #[\SensitiveParameter] ?string $token = null,
        ?array $tls = null,
        private readonly ?float $stopWithin = null,
        private readonly float $retry = 30,
        ?string $name = null,
        ?string $note = null,
    ) {
        $this->identity = new Identity($name, $note);
        Wish::seconds('retry', $retry);
        Wish::seconds('stopWithin', $stopWithin ?? 0.0);
        $login = match (true) {
            $token !== null => "Authorization: Bearer $token\r\n",
            $user !== null => 'Authorization: Basic ' . base64_encode("$user:$password") . "\r\n",
            default => '',
        };
        $this->api = new Api($url, $login, $tls);
    }

    /**
     * Takes a lease.
     *
     * @param string $name
     * @param int|float|null $timeout seconds; 0 tries; null, INF and what is negative wait forever
     * @param int|float $ttl seconds from each heartbeat on
     * @param bool $shared beside others that share it
     * @param string|null $client in place of the name of this object
     * @param string|null $note in place of its note
     * @throws NotGranted if others have the lock until the timeout is over
     * @throws Refused if the server refuses, or somebody ended the wait
     * @throws Broken if the server is away
     */
    public function acquire(
        mixed $name,
        mixed $timeout = null,
        mixed $ttl = 45,
        mixed $shared = false,
        ?string $client = null,
        ?string $note = null,
    ): Lease {
        return $this->take(new Wish($name, $timeout, $shared), $this->millis($ttl), $client, $note);
    }

    /**
     * Takes a lease if the lock is free now. Null if it is not.
     *
     * @param string $name
     * @param int|float $ttl
     * @param bool $shared
     * @throws Refused
     * @throws Broken
     */
    public function tryLock(
        mixed $name,
        mixed $ttl = 45,
        mixed $shared = false,
        ?string $client = null,
        ?string $note = null,
    ): ?Lease {
        try {
            return $this->take(new Wish($name, 0, $shared), $this->millis($ttl), $client, $note);
        } catch (NotGranted) {
            return null;
        }
    }

    /**
     * Runs the body with the lease, and returns its result. Without the lease the body does not run.
     *
     * @template T
     * @param string $name
     * @param int|float|null $timeout as with acquire()
     * @param callable(Lease): T $body
     * @param int|float $ttl
     * @param bool $shared
     * @return T
     * @throws NotGranted
     * @throws Lost if the lease was lost before the body ended. An error of the body stays, with Lost as its cause.
     * @throws Refused
     * @throws Broken
     */
    public function lock(
        mixed $name,
        mixed $timeout,
        callable $body,
        mixed $ttl = 45,
        mixed $shared = false,
        ?string $client = null,
        ?string $note = null,
    ): mixed {
        return $this->take(new Wish($name, $timeout, $shared), $this->millis($ttl), $client, $note, $body);
    }

    /** A request whose answer was lost is sent again: the server knows it by its id. */
    private function take(Wish $wish, int $millis, ?string $client, ?string $note, ?callable $body = null): mixed
    {
        $fields = array_filter([
            'resourceName' => $wish->name,
            'mode' => $wish->shared ? 'shared' : 'exclusive',
            'ttlMs' => $millis,
            'clientId' => Identity::check('client', $client) ?? $this->identity->name(),
            'note' => Identity::check('note', $note) ?? $this->identity->note,
            'requestId' => bin2hex(random_bytes(16)), // as secret as the token of the lease
        ], fn ($value) => $value !== null);
        $awaySince = Clock::now();
        $deadline = $awaySince + $wish->timeout;
        $round = $this->api->cluster->round();
        for ($attempt = 0;;) {
            $base = array_shift($round);
            $began = Clock::now();
            $left = max(0.0, $deadline - $began);
            $wait = ['waitMs' => $left === INF ? -1 : (int) ceil($left * 1000)];
            try {
                $request = $this->api->request($base, 'acquire', $fields + $wait);
                return $this->ask($wish, $millis, $left, $base, $request, $body);
            } catch (Refused $refused) {
                $round && $refused->symbol === 'Unavailable' || throw $refused;
            } catch (LostAnswer $error) {
                if ($round) {
                    continue; // each address has its turn before a pause
                }
                $round = $this->api->cluster->round();
                // Whatever broke a long wait, it was not that nobody was there.
                $awaySince = $error->wasSent && Clock::now() - $began > ANSWER_TIME ? Clock::now() : $awaySince;
                $pause = min(2, 0.05 * 2 ** min($attempt++, 6)) * random_int(500, 1000) / 1000;
                // What was sent may have been granted: that is asked for also when the timeout is over.
                $end = min($error->wasSent ? INF : $deadline, $awaySince + $this->retry);
                if (Clock::now() + $pause > $end) {
                    throw new Broken($error->getMessage(), 0, $error);
                }
                usleep((int) ($pause * 1e6));
            }
        }
    }

    /**
     * The lease, or what the body returns. However the way to them ends, no lease is left that nobody
     * knows of. One request has the whole wait: a wait in parts would lose its place in the queue.
     */
    private function ask(
        Wish $wish,
        int $millis,
        float $left,
        Address $base,
        string $request,
        ?callable $body,
    ): mixed {
        $sent = Clock::now();
        try {
            $wire = $this->api->connect($base, $left + PARKED_TIME);
        } catch (Broken $error) {
            throw new LostAnswer($error->getMessage(), false);
        }
        $lease = null;
        $process = getmypid();
        $undo = function () use ($wish, $base, $wire, &$lease, $process) {
            if ($process === getmypid()) {
                $lease ? $lease->release() : $this->api->undo($base, $wire, $wish->name);
            }
        };
        AtEnd::add($undo, $undo); // exit() and a fatal error pass by what stands below
        try {
            $wire->send($request);
            $answer = $wire->rest($sent + $left + PARKED_TIME);
            $new = $this->granted($wish, $millis / 1000, $base, $answer, $sent);
            $this->api->cluster->served($base);
            $wire->end();
            // It runs from the grant on. After a long wait only a heartbeat can tell for how long still.
            if (Clock::now() - $sent > $millis / 5000 && !$new->heartbeat()) {
                throw new Broken("the lease ended before it began: {$new->lost()?->getMessage()}");
            }
            $lease = $new;
            $result = $body ? $lease->during($body) : $lease;
            AtEnd::take($undo);
            return $result;
        } catch (\Throwable $error) {
            $undo();
            AtEnd::take($undo); // not sooner: the next signal may end this, too
            throw $error;
        }
    }

    private function granted(Wish $wish, float $ttl, Address $base, string $answer, float $sent): Lease
    {
        try {
            $granted = $this->api->read('acquire', $answer);
        } catch (Refused $refused) {
            throw $refused->symbol === 'Busy' ? $wish->notGranted() : $refused;
        }
        [$token, $number] = [$granted['lockToken'] ?? null, $granted['fencingToken'] ?? null];
        if (!is_string($token) || !is_int($number)) {
            throw new Broken('the server has granted a lease, and has not told its tokens');
        }
        $stop = $this->stopWithin ?? $ttl / 5;
        return new Lease($wish->name, $number, $token, $this->api, $base, $ttl, $stop, $sent);
    }

    private function millis(mixed $ttl): int
    {
        is_int($ttl) || is_float($ttl) || Wish::refuse('ttl', 'a number of seconds', $ttl);
        if (!($ttl >= 0.001 && $ttl < 1e9)) {
            throw new \InvalidArgumentException("ttl is a number of seconds greater than 0, not $ttl");
        }
        if ($this->stopWithin !== null && $this->stopWithin >= $ttl * 2 / 3) {
            throw new \InvalidArgumentException("stopWithin is $this->stopWithin s of a ttl of $ttl s, and a heartbeat"
                . ' is sent each third of it: take less than two thirds, or a longer ttl');
        }
        return (int) ($ttl * 1000);
    }
}

/** A lock that is held by heartbeats. */
final class Lease extends Hold
{
    /** When the next heartbeat is due. */
    private float $due;
    /** Whether one has failed since the last that was acknowledged. */
    private bool $failed = false;

    /**
     * @internal
     * @param string $leaseToken what the server knows the lease by
     * @param Address $base where the next request goes
     * @param float $since when that was sent from which its time counts
     */
    public function __construct(
        string $name,
        int $fencingToken,
        public readonly string $leaseToken,
        private readonly Api $api,
        private Address $base,
        private readonly float $ttl,
        private readonly float $stopWithin,
        private float $since,
    ) {
        parent::__construct($name, $fencingToken);
        $this->due = $since + $ttl / 3;
    }

    /** Sends a heartbeat at once. Whether the lease is held, which it may be though the server is away just now. */
    public function heartbeat(): bool
    {
        $this->due = -INF;
        return $this->held();
    }

    protected function confirm(): void
    {
        $now = Clock::now();
        $end = $this->promisedUntil();
        if ($now < min($this->due, $end)) {
            return;
        }
        if ($now >= $end && $this->failed) {
            throw new Broken('the server has not answered in time');
        }
        // Late is not lost if the script has not asked: the server knows. But then only a fast answer counts.
        $patience = $now < $end ? $end - $now : $this->ttl - $this->stopWithin;
        try {
            // Of several addresses there is time for another one.
            $share = $this->api->cluster->isSeveral() ? $this->ttl / 4 : $this->ttl;
            $this->send('heartbeat', min($patience, $share, ANSWER_TIME));
            [$this->since, $this->due, $this->failed] = [$now, $now + $this->ttl / 3, false];
        } catch (Broken $error) {
            $this->base = $this->api->cluster->after($this->base);
            [$this->due, $this->failed] = [Clock::now() + $this->ttl / 30, true]; // the next to ask tries again
        }
        if (Clock::now() >= $this->promisedUntil()) {
            throw $error ?? new Broken('the server has not answered in time');
        }
    }

    protected function free(): void
    {
        try {
            $this->send('release', ANSWER_TIME);
        } catch (Broken $error) {
            // It was held until now, and is free when its time is over.
            Clock::now() < $this->promisedUntil() || throw $error;
        }
    }

    protected function close(bool $atOnce): void
    {
    }

    private function promisedUntil(): float
    {
        return $this->since + $this->ttl - $this->stopWithin - Clock::STEP;
    }

    /** Broken if the server is away or busy; any other refusal is for good. */
    private function send(string $what, float $patience): void
    {
        try {
            $body = ['resourceName' => $this->name, 'lockToken' => $this->leaseToken];
            $this->api->post($this->base, $what, $body, $patience);
        } catch (Refused $refused) {
            $passes = in_array($refused->symbol, ['Unavailable', 'TooManyRequests'], true);
            throw $passes ? new Broken($refused->getMessage()) : $refused;
        }
    }
}

/**
 * Requests of HTTP, each by a connection of its own.
 *
 * @internal
 */
final class Api
{
    /** How an answer says that it is done. */
    private const DONE = ['acquire' => 'Acquired', 'heartbeat' => 'HeartbeatReceived', 'release' => 'Released'];
    /** How many seconds each part of undo() may take. */
    private const UNDO_TIME = 2.0;

    public readonly Cluster $cluster;
    /** @var array<string, mixed>|null */
    private readonly ?array $tls;

    /**
     * @param string|list<string> $url
     * @param string $login a header line, or none
     * @param array<string, mixed>|null $tls
     */
    public function __construct(string|array $url, #[\SensitiveParameter] private readonly string $login, ?array $tls)
    {
        [$bases, $secure] = Address::ofUrls($url);
        $this->cluster = new Cluster($bases);
        $this->tls = $secure ? $tls ?? [] : null;
    }

    /**
     * @param array<string, mixed> $body
     * @return array<string, mixed>
     * @throws Refused with the status as symbol
     */
    public function post(Address $base, string $what, array $body, float $patience): array
    {
        $until = Clock::now() + $patience;
        $request = $this->request($base, $what, $body);
        $wire = $this->connect($base, $patience);
        try {
            $wire->send($request);
            return $this->read($what, $wire->rest($until));
        } finally {
            $wire->end();
        }
    }

    /** @param array<string, mixed> $body */
    public function request(Address $base, string $what, array $body): string
    {
        try {
            $json = json_encode($body, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
        } catch (\JsonException) {
            throw new \InvalidArgumentException('a name, a client and a note are texts in UTF-8');
        }
        // Of HTTP/1.0: its answers come in one piece and end with the connection.
        return "POST $base->path/api/lock/$what HTTP/1.0\r\nHost: $base->host:$base->port\r\n$this->login"
            . "Content-Type: application/json\r\nContent-Length: " . strlen($json) . "\r\n\r\n$json";
    }

    public function connect(Address $base, float $patience): Wire
    {
        return new Wire($base, $this->tls, min($patience, PARKED_TIME), $this->cluster->connectTime());
    }

    /** Nobody wants what was asked for by that connection: leaves the queue, and releases what was on its way. */
    public function undo(Address $base, Wire $wire, string $name): void
    {
        try {
            $wire->finish();
            $token = $this->read('acquire', $wire->rest(Clock::now() + self::UNDO_TIME))['lockToken'] ?? null;
            is_string($token)
                && $this->post($base, 'release', ['resourceName' => $name, 'lockToken' => $token], self::UNDO_TIME);
        } catch (Broken | Refused) {
            // Nothing was granted, or it is free when its time is over.
        }
        $wire->end();
    }

    /**
     * @return array<string, mixed>
     * @throws Refused with the status as symbol
     */
    public function read(string $what, string $answer): array
    {
        if (!str_contains($answer, "\r\n\r\n")) {
            throw new LostAnswer('the connection broke before the answer was whole', true);
        }
        [$head, $body] = explode("\r\n\r\n", $answer, 2);
        if (preg_match('/^content-length: *(\d+)/im', $head, $match) && strlen($body) < (int) $match[1]) {
            throw new LostAnswer('the connection broke before the answer was whole', true);
        }
        $data = json_decode($body, true);
        $data = is_array($data) ? $data + ['success' => null, 'status' => null, 'message' => null] : null;
        if ($data && $data['success'] === true && $data['status'] === self::DONE[$what]) {
            // A lease outlives the leader, so its own time bounds it. But what an old leader says does not count.
            $term = $data['term'] ?? null;
            is_int($term) && !$this->cluster->takes($term) && throw new LostAnswer(Cluster::OUTDATED, true);
            return $data;
        }
        if (!$data && preg_match('~^HTTP/1.[01] 5~', $head)) {
            throw new LostAnswer('a proxy answered ' . strtok("$head\r\n", "\r\n"), true);
        }
        throw $data && $data['success'] === false && is_string($data['status'])
            ? new Refused($data['status'], is_string($data['message']) ? $data['message'] : '')
            : new Broken('this is no answer of getlockd: ' . strtok("$head\r\n", "\r\n"));
    }
}
