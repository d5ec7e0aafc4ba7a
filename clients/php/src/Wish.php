<?php
/** What is asked for. GetLock.php needs this file. */
declare(strict_types=1);

namespace GetLock;

/**
 * What is asked for, checked before anything is sent. The types are checked here, not by PHP's declarations:
 * a file without strict_types would make a name of 10 and a timeout of "10".
 *
 * @internal
 */
final class Wish
{
    private const CENTURY = 100 * 365 * 86400;

    public readonly string $name;
    public readonly float $timeout;
    public readonly bool $shared;

    public function __construct(mixed $name, mixed $timeout, mixed $shared)
    {
        is_string($name) || self::refuse('the name of a lock', 'a string', $name);
        is_bool($shared) || self::refuse('shared', 'true or false', $shared);
        is_null($timeout) || is_int($timeout) || is_float($timeout)
            || self::refuse('a timeout', 'a number of seconds, or null to wait forever', $timeout);
        if (is_float($timeout) && is_nan($timeout)) {
            throw new \InvalidArgumentException('a timeout is a number of seconds, not NAN; null waits forever');
        }
        preg_match('//u', $name) || throw new \InvalidArgumentException('the name of a lock is not UTF-8; encode it');
        $this->name = $name;
        $this->timeout = $timeout === null || $timeout < 0 || $timeout > self::CENTURY ? INF : (float) $timeout;
        $this->shared = $shared;
    }

    public function notGranted(): NotGranted
    {
        return new NotGranted("others have the lock $this->name, and {$this->timeout} s are over; try again later");
    }

    /** Refuses what is no span of time. */
    public static function seconds(string $what, float $seconds): void
    {
        if (is_nan($seconds) || $seconds < 0) {
            throw new \InvalidArgumentException("$what is a number of seconds from 0 on, not $seconds");
        }
    }

    public static function refuse(string $what, string $right, mixed $given): never
    {
        throw new \TypeError("$what is $right, not " . get_debug_type($given));
    }
}
