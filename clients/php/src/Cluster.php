<?php
/** What the connections of one client know together. GetLock.php and Leases.php need this file. */
declare(strict_types=1);

namespace GetLock;

/**
 * Where a server is. A path is that of leases alone.
 *
 * @internal
 */
final class Address
{
    public function __construct(
        public readonly string $host,
        public readonly int $port,
        public readonly string $path = '',
    ) {
    }

    /**
     * Of `a:3305,b:3305`, or an array of such. The port is that of those without one.
     *
     * @param string|list<string> $hosts
     * @return list<self>
     */
    public static function ofHosts(string|array $hosts, int $port): array
    {
        return array_map(function (string $text) use ($port) {
            $has = preg_match('/^(\[[^\]]*\]|[^:\[\]]*):(\d{1,5})$/D', $text, $match) === 1;
            [$host, $own] = $has ? [$match[1], (int) $match[2]] : [$text, $port];
            if ($host === '' || $own < 1 || $own > 65535) {
                throw new \InvalidArgumentException("'$text' is no host such as 127.0.0.1 or a:3305,b:3305");
            }
            return new self(trim($host, '[]'), $own);
        }, self::parts($hosts));
    }

    /**
     * Of base URLs, with commas between them or in an array.
     *
     * @param string|list<string> $urls
     * @return array{list<self>, bool} and whether they have TLS
     */
    public static function ofUrls(string|array $urls): array
    {
        $secures = [];
        $bases = array_map(function (string $url) use (&$secures) {
            $parts = parse_url($url) ?: [];
            $secure = ['http' => false, 'https' => true][strtolower($parts['scheme'] ?? '')] ?? null;
            if ($secure === null || !isset($parts['host']) || isset($parts['user']) || isset($parts['query'])) {
                throw new \InvalidArgumentException("'$url' is no URL like http://127.0.0.1:3308");
            }
            $secures[] = $secure;
            return new self($parts['host'], $parts['port'] ?? ($secure ? 443 : 80), rtrim($parts['path'] ?? '', '/'));
        }, self::parts($urls));
        if (count(array_unique($secures)) !== 1) {
            throw new \InvalidArgumentException('some URLs begin with https and some with http; use one for all');
        }
        return [$bases, $secures[0]];
    }

    /**
     * @param string|array<mixed> $texts
     * @return list<string>
     */
    private static function parts(string|array $texts): array
    {
        $parts = [];
        foreach ((array) $texts as $text) {
            is_string($text) || Wish::refuse('an address', 'a string', $text);
            array_push($parts, ...array_map('trim', explode(',', $text)));
        }
        return $parts ?: throw new \InvalidArgumentException('there is no address; give at least one');
    }
}

/**
 * The addresses of a client, and the cluster behind them if there is one.
 *
 * @internal
 */
final class Cluster
{
    public const OUTDATED = 'the server that answered no longer leads its cluster';
    /** Of the longest promise: what the work has to stop by default, and what it may have. */
    private const TO_STOP = 0.2;
    private const MOST_TO_STOP = 0.3;
    /** So often it is asked for: each tenth of --cluster-ttl, of which it is nine tenths. */
    private const ASKED_PER_PROMISE = 9;
    /** Seconds until the next of several addresses is tried. */
    private const CONNECT_TIME = 3.0;
    /** The same for one that is connected and silent: all nodes of a cluster are held up alike. */
    private const TURN_TIME = 5.0;

    /** The longest promise. Others have what is left to the leader. */
    public float $longest = 0.0;
    private int $term = 0;
    private int $good = 0;

    /** @param list<Address> $addresses */
    public function __construct(private readonly array $addresses)
    {
    }

    /**
     * All addresses in the order of the tries: the last good one is the first.
     *
     * @return list<Address>
     */
    public function round(): array
    {
        return [...array_slice($this->addresses, $this->good), ...array_slice($this->addresses, 0, $this->good)];
    }

    public function served(Address $address): void
    {
        $this->good = (int) array_search($address, $this->addresses, true);
    }

    /** The address behind this one, round and round. */
    public function after(Address $address): Address
    {
        $at = (int) array_search($address, $this->addresses, true);
        return $this->addresses[($at + 1) % count($this->addresses)];
    }

    public function isSeveral(): bool
    {
        return count($this->addresses) > 1;
    }

    public function connectTime(): float
    {
        return $this->isSeveral() ? self::CONNECT_TIME : ANSWER_TIME;
    }

    public function firstAnswerTime(): float
    {
        return $this->isSeveral() ? self::TURN_TIME : PARKED_TIME;
    }

    /** Whether an answer of that term counts. One of a lower term than was seen is of a leader that leads no longer. */
    public function takes(int $term, float $left = 0.0): bool
    {
        if ($term < $this->term) {
            return false;
        }
        [$this->term, $this->longest] = [$term, max($this->longest, $left)];
        return true;
    }

    /** Seconds between two questions. */
    public function every(): float
    {
        return $this->longest / self::ASKED_PER_PROMISE;
    }

    public function timeToStop(): float
    {
        return $this->longest * self::TO_STOP;
    }

    public function check(?float $stopWithin): void
    {
        $most = $this->longest * self::MOST_TO_STOP;
        if ($stopWithin !== null && $most > 0 && $stopWithin > $most) {
            throw new \InvalidArgumentException("stopWithin is $stopWithin s, which is too long for this cluster: take"
                . sprintf(' at most %.2F s, or a greater --cluster-ttl or --takeover-delay', $most)
                . ' of the servers, of which a fifth is always short enough');
        }
    }
}
