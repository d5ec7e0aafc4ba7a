<?php
/**
 * Locks of getlockd, by its line protocol. Copy this file: it needs PHP 8.1 and nothing else.
 *
 *     $locks = new GetLock\GetLock('127.0.0.1', 3305);
 *     $guard = $locks->lock('nightly', 10) ?? exit("somebody else has it\n");
 *     foreach ($rows as $row) {
 *         $guard->held() || exit("the lock is lost: {$guard->lost->getMessage()}\n");
 *         write($row, $guard->token);
 *     }
 *     $guard->release();
 *
 * Each guard has a connection of its own. PHP does one thing at a time: ask held() between steps.
 */
declare(strict_types=1);

namespace GetLock;

const ANSWER_TIME = 10.0; // seconds that the server may take for what does not wait

/** The server is away, or the connection broke. */
class Broken extends \RuntimeException
{
}

/** What the server answered as ERROR: the symbol is for programs, the message for people. */
class Refused extends \RuntimeException
{
    public function __construct(public readonly ?string $symbol, string $text, ?\Throwable $why = null)
    {
        parent::__construct($text, 0, $why);
    }
}

/** The lock is gone. The symbol is the reason that the server gave, null if the connection broke. */
final class Lost extends Refused
{
}

/** A server. `$tls` are PHP's SSL context options; a server that is away is tried for `$retry` seconds. */
final class GetLock
{
    private readonly string $hello;

    public function __construct(
        private readonly string $host = '127.0.0.1',
        private readonly int $port = 3305,
        ?string $user = null,
        #[\SensitiveParameter] string $password = '',
        private readonly ?array $tls = null,
        private readonly float $retry = 30,
    ) {
        $this->hello = $user === null ? 'PING' : 'AUTH ' . quoted($user) . ' ' . quoted($password);
    }

    /** Null if not granted within `$timeout` seconds; -1 waits for ever. */
    public function lock(string $name, float $timeout): ?Guard
    {
        return $this->take('GET_LOCK', quoted($name), $timeout);
    }

    /** As lock(), beside others that share it. */
    public function sharedLock(string $name, float $timeout): ?Guard
    {
        return $this->take('GET_SHARED_LOCK', quoted($name), $timeout);
    }

    /** Nothing is held yet, so a wait that breaks may connect and queue again. */
    private function take(string $verb, string $name, float $timeout): ?Guard
    {
        $awaySince = now();
        $deadline = $timeout < 0 ? INF : $awaySince + $timeout;
        for ($attempt = 0;; $attempt++) {
            $connection = null;
            try {
                $connection = new Connection($this->host, $this->port, $this->tls, $this->hello);
                $left = $timeout < 0 ? -1.0 : max(0.0, $deadline - now());
                $patience = $timeout < 0 ? -1.0 : $left + ANSWER_TIME;
                if ($connection->ask(sprintf('%s %s %.3F', $verb, $name, $left), $patience) !== '1') {
                    return null;
                }
                return new Guard($connection, $name, (int) $connection->ask("FENCING_TOKEN $name"));
            } catch (Broken | Refused $error) {
                if ($connection) {
                    $connection->close();
                    $awaySince = now();
                }
                $pause = min(2, 0.05 * 2 ** $attempt) * random_int(500, 1000) / 1000;
                $passes = $error instanceof Broken || in_array($error->symbol, ['SHUTDOWN', 'LIMIT'], true);
                if (!$passes || now() + $pause > min($deadline, $awaySince + $this->retry)) {
                    throw $error;
                }
                usleep((int) ($pause * 1e6));
            }
        }
    }
}

/** A lock that is held, with its fencing token. It is freed with the guard at the latest. */
final class Guard
{
    /** Why the lock is gone, as far as held() and release() have noticed. */
    public ?Lost $lost = null;
    private bool $released = false;

    public function __construct(
        private readonly Connection $connection,
        private readonly string $name,
        public readonly int $token,
    ) {
    }

    /** Whether nothing has come that says otherwise. This does not wait. */
    public function held(): bool
    {
        try {
            if (!$this->lost && !$this->released && $this->connection->hasSpoken()) {
                $this->lose(new Refused(null, $this->connection->line()));
            }
        } catch (Broken | Refused $error) {
            $this->lose($error);
        }
        return !$this->lost && !$this->released;
    }

    /** Frees the lock. True if it was held until now, false if it had been lost. */
    public function release(): bool
    {
        try {
            $this->released = $this->released || ($this->held() && $this->connection->ask("RELEASE_LOCK $this->name") === '1');
        } catch (Broken | Refused $error) {
            $this->lose($error);
        }
        $this->connection->close();
        return $this->released;
    }

    private function lose(Broken|Refused $why): void
    {
        $symbol = $why instanceof Refused ? $why->symbol : null;
        $this->lost = new Lost($symbol, $why->getMessage(), $why);
    }
}

/** @internal */
final class Connection
{
    /** @var resource */
    private $stream;
    private string $unread = '';

    public function __construct(string $host, int $port, ?array $tls, string $hello)
    {
        $context = stream_context_create(['ssl' => ($tls ?? []) + ['peer_name' => $host]]);
        $stream = @stream_socket_client("tcp://$host:$port", $code, $text, ANSWER_TIME, STREAM_CLIENT_CONNECT, $context);
        $this->stream = $stream ?: throw new Broken("cannot connect to $host:$port: $text");
        if (function_exists('socket_import_stream')) {
            // A server that has vanished is found within half a minute.
            $socket = socket_import_stream($stream);
            socket_set_option($socket, SOL_SOCKET, SO_KEEPALIVE, 1);
            foreach (['TCP_KEEPIDLE' => 10, 'TCP_KEEPINTVL' => 5, 'TCP_KEEPCNT' => 3] as $option => $value) {
                defined($option) && socket_set_option($socket, SOL_TCP, constant($option), $value);
            }
        }
        if ($tls !== null && !@stream_socket_enable_crypto($stream, true, STREAM_CRYPTO_METHOD_TLS_CLIENT)) {
            throw new Broken('no TLS: ' . (error_get_last()['message'] ?? 'the connection ended'));
        }
        $this->ask($hello);
    }

    public function ask(string $line, float $patience = ANSWER_TIME): string
    {
        stream_set_timeout($this->stream, (int) floor($patience), (int) (fmod(max(0, $patience), 1) * 1e6));
        if (@fwrite($this->stream, "$line\n") === false) {
            throw new Broken('the connection ended');
        }
        return $this->line();
    }

    /** Whether a part of a line has come, or the end. */
    public function hasSpoken(): bool
    {
        stream_set_blocking($this->stream, false);
        $this->unread = (string) @fgets($this->stream);
        stream_set_blocking($this->stream, true);
        return $this->unread !== '' || feof($this->stream);
    }

    public function line(): string
    {
        $line = $this->unread;
        if (!str_ends_with($line, "\n")) {
            $line .= (string) @fgets($this->stream);
        }
        $this->unread = '';
        if (!str_ends_with($line, "\n")) {
            throw new Broken(feof($this->stream) ? 'the connection ended' : 'no answer in time');
        }
        $words = explode(' ', rtrim($line, "\n"), 3);
        return $words[0] === 'ERROR' ? throw new Refused($words[1], $words[2]) : rtrim($line, "\n");
    }

    public function close(): void
    {
        is_resource($this->stream) && fclose($this->stream);
    }
}

/** One word, whatever is in it; no text can be a second line. */
function quoted(string $text): string
{
    return "'" . strtr($text, ['\\' => '\\\\', "'" => "''", "\n" => '\\n', "\r" => '\\r', "\0" => '\\0']) . "'";
}

function now(): float
{
    return hrtime(true) / 1e9;
}
