<?php
// What the steps share: sessions of plain sockets, processes aside, servers of a few answers, and expectations.
use GetLock\{GetLock, Guard, Leases};

const PATIENCE = 20.0; // seconds

/** A failure is the end of its step. */
function expect(bool $right, string $what): void
{
    $right || throw new RuntimeException($what);
}

function same(mixed $wanted, mixed $got, string $what): void
{
    expect($wanted === $got, "$what: " . var_export($got, true) . ', not ' . var_export($wanted, true));
}

/** The error, which is of this class exactly. */
function raises(string $class, callable $call): Throwable
{
    try {
        $got = $call();
    } catch (Throwable $error) {
        same($class, $error::class, "the error ({$error->getMessage()})");
        return $error;
    }
    throw new RuntimeException("$class is not raised, and there is " . get_debug_type($got));
}

/** What the call returns as soon as that is something. */
function await(string $what, callable $seen): mixed
{
    $until = seconds() + PATIENCE;
    while (!($got = $seen())) {
        expect(seconds() < $until, "$what: not in time");
        usleep(5000);
    }
    return $got;
}

/** By the clock that all processes share. */
function seconds(): float
{
    return hrtime(true) / 1e9;
}

/** A session of a plain socket. */
final class Session
{
    private $stream;

    public function __construct(int $port)
    {
        $this->stream = stream_socket_client("tcp://127.0.0.1:$port");
        stream_set_timeout($this->stream, (int) PATIENCE);
    }

    public function ask(string $line): string
    {
        fwrite($this->stream, "$line\n");
        return rtrim((string) fgets($this->stream), "\n");
    }

    public function list(string $line): array
    {
        $rows = [];
        for ($row = $this->ask($line); !str_starts_with($row, 'END'); $row = rtrim(fgets($this->stream), "\n")) {
            $rows[] = $row;
        }
        return $rows;
    }
}

/** A server's ports, and another that looks. */
final class Stage
{
    public readonly Session $eye;

    public function __construct(public readonly int $line, public readonly int $http)
    {
        $this->eye = new Session($line);
    }

    public function locks(): GetLock
    {
        return new GetLock(port: $this->line);
    }

    public function leases(): Leases
    {
        return new Leases("http://127.0.0.1:$this->http");
    }

    /** Another who holds the lock. */
    public function holder(string $name): Session
    {
        $holder = new Session($this->line);
        same('1', $holder->ask("GET_LOCK $name 0"), 'a lock of another');
        return $holder;
    }

    /** The session of the first who waits, as soon as somebody does. */
    public function waiter(string $name): string
    {
        $eye = new Session($this->line);
        $row = await("a waiter for $name", fn () => $eye->list("WAITERS $name")[0] ?? null);
        preg_match('/ (?:id|session)=(\d+)/', $row, $match);
        return $match[1];
    }

    /** What LOCKS shows of a lock with one holder. */
    public function row(string $name): string
    {
        $rows = $this->eye->list("LOCKS $name");
        same(1, count($rows), 'the rows');
        return $rows[0];
    }

    /** LOCKS shows this of the lock. */
    public function shows(string $wanted, string $name): void
    {
        $row = $this->row($name);
        expect(str_contains($row, $wanted), "no $wanted in $row");
    }

    public function isFree(string $name): bool
    {
        return $this->eye->ask("IS_FREE_LOCK $name") === '1';
    }

    public function becomesFree(string $name): void
    {
        await("$name is free", fn () => $this->isFree($name));
    }

    public function kill(Guard $guard): void
    {
        same('1', $this->eye->ask("KILL $guard->session"), 'KILL');
    }

    /** Runs the body of a lock that is not to be had: it may not run. */
    public function neverRuns(string $error, string $name, int|float $timeout): Throwable
    {
        $ran = false;
        $raised = raises($error, function () use ($name, $timeout, &$ran) {
            return $this->locks()->lock($name, $timeout, function () use (&$ran) {
                $ran = true;
            });
        });
        expect(!$ran, 'the body ran');
        return $raised;
    }
}

/** A process aside, which is a fork of this one. */
final class Aside
{
    public readonly int $process;

    public function __construct(callable $work)
    {
        $this->process = pcntl_fork();
        if ($this->process === 0) {
            try {
                $work();
            } catch (Throwable $error) {
                fwrite(STDERR, "aside: $error\n");
                exit(1);
            }
            exit(0);
        }
    }

    /** Waits for its end, which is to be a good one. */
    public function joined(): void
    {
        pcntl_waitpid($this->process, $status);
        expect(pcntl_wifexited($status) && pcntl_wexitstatus($status) === 0, 'the process aside failed');
    }

    public function killed(): void
    {
        posix_kill($this->process, SIGKILL);
        pcntl_waitpid($this->process, $status);
    }
}

/** A server of a few answers, in a process aside. What it tells comes back by a pipe. */
final class Stub
{
    public readonly int $port;
    private readonly Aside $aside;
    private $told;

    /** @param callable $serve gets each connection, and a function that tells something */
    public function __construct(callable $serve)
    {
        $listener = stream_socket_server('tcp://127.0.0.1:0');
        $this->port = (int) substr(strrchr(stream_socket_get_name($listener, false), ':'), 1);
        [$this->told, $tells] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $this->aside = new Aside(function () use ($listener, $serve, $tells) {
            $tell = fn (string $what) => fwrite($tells, sprintf("%s %.6F\n", $what, seconds()));
            while ($connection = @stream_socket_accept($listener, -1)) {
                $serve($connection, $tell);
            }
        });
        stream_set_timeout($this->told, (int) PATIENCE);
    }

    /** When it told this, by seconds(). */
    public function told(string $what): float
    {
        do {
            $line = fgets($this->told) ?: throw new RuntimeException("the stub did not tell $what");
            [$word, $moment] = explode(' ', $line);
        } while ($word !== $what);
        return (float) $moment;
    }

    /** The next that it tells, so many. */
    public function words(int $count): array
    {
        return array_map(fn () => strtok((string) fgets($this->told), ' '), range(1, $count));
    }

    /** Whether it has told this by now, and nothing after it. */
    public function hasTold(string $what): bool
    {
        stream_set_blocking($this->told, false);
        $lines = explode("\n", (string) stream_get_contents($this->told));
        stream_set_blocking($this->told, true);
        return str_starts_with($lines[count($lines) - 2] ?? '', "$what ");
    }

    public function __destruct()
    {
        isset($this->aside) && $this->aside->killed();
    }
}

/**
 * Serves the line protocol, with one lock that is free. Each question is told, and answered unless `$answers` says no
 * to its number. The grant comes at once, or when `$grants` says so after a question. `$left` is what it promises.
 */
function line_stub(
    callable $answers,
    ?callable $grants = null,
    string $introduced = '1',
    ?callable $left = null,
): Stub {
    $left ??= fn () => 'left=1.000 spare=7';
    return new Stub(function ($connection, callable $tell) use ($answers, $grants, $introduced, $left) {
        $questions = 0;
        $replies = ['CONNECTION_ID' => '7', 'FENCING_TOKEN' => '42', 'RELEASE_LOCK' => '1', 'GET_LOCK' => '1'];
        $replies += ['INTRODUCE' => $introduced];
        $late = ''; // replies behind that of a command that waits
        $waits = $grants !== null;
        while (($line = fgets($connection)) !== false) {
            $verb = strtok(rtrim($line), ' ');
            if ($verb === 'KEEPALIVE') {
                $tell('question');
                $answers(++$questions) && fwrite($connection, "KEEPALIVE {$left($questions)}\n");
            } elseif ($late !== '' || ($verb === 'GET_LOCK' && $waits)) {
                $late .= "$replies[$verb]\n";
            } else {
                fwrite($connection, "$replies[$verb]\n");
            }
            if ($late !== '' && $grants($questions)) {
                fwrite($connection, $late);
                [$late, $waits] = ['', false];
                $tell('grant');
            }
        }
        $tell('closed');
    });
}
