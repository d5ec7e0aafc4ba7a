<?php
// Steps: signals, forks and commands.
use GetLock\{GetLock, Guard};

/** What a handler of a signal raises. */
final class Ended extends Exception
{
}

/** Runs the call, which the signal may end. */
function endable(callable $call): mixed
{
    pcntl_async_signals(true);
    pcntl_signal(SIGUSR1, fn () => throw new Ended());
    try {
        return $call();
    } finally {
        pcntl_signal(SIGUSR1, SIG_IGN);
    }
}

function ended_while_waiting(Stage $stage): void
{
    $holder = $stage->holder('php-ended');
    $script = getmypid();
    $aside = new Aside(function () use ($stage, $script) {
        $stage->waiter('php-ended');
        posix_kill($script, SIGUSR1);
    });
    // The error has the arguments of its trace: that must not keep the connection.
    $ended = raises(Ended::class, fn () => endable(fn () => $stage->locks()->acquire('php-ended')));
    await('nobody waits', fn () => $stage->eye->list('WAITERS php-ended') === []);
    same('1', $holder->ask('RELEASE_LOCK php-ended'), 'RELEASE_LOCK');
    expect($stage->isFree('php-ended'), 'it is free');
    $aside->joined();
}

function ended_as_granted(Stage $stage): void
{
    $script = getmypid();
    for ($turn = 0; $turn < 20; $turn++) {
        $holder = $stage->holder('php-as-granted');
        $aside = new Aside(function () use ($stage, $script, $holder, $turn) {
            $stage->waiter('php-as-granted');
            $turn % 2 || posix_kill($script, SIGUSR1);
            $holder->ask('RELEASE_LOCK php-as-granted');
            $turn % 2 && posix_kill($script, SIGUSR1);
        });
        raises(Ended::class, fn () => endable(function () use ($stage) {
            $guard = $stage->locks()->acquire('php-as-granted', 60);
            await('the signal', fn () => !$guard->held());
        }));
        $stage->becomesFree('php-as-granted');
        $aside->joined();
    }
}

function ended_while_holding(Stage $stage): void
{
    raises(Ended::class, fn () => endable(function () use ($stage) {
        return $stage->locks()->lock('php-while-holding', 5, function () {
            posix_kill(getmypid(), SIGUSR1);
            await('the signal', fn () => false);
        });
    }));
    expect($stage->isFree('php-while-holding'), 'it is free');
}

/** The parent has its lock as before. */
function is_undisturbed(Stage $stage, Guard $guard): void
{
    same((string) $guard->session, $stage->eye->ask("IS_USED_LOCK $guard->name"), 'the holder');
    expect($guard->held(), 'it is held');
}

function fork_leaves(Stage $stage): void
{
    $script = getmypid();
    $guard = $stage->locks()->acquire('php-fork', 5);
    (new Aside(function () use ($guard) {
        expect(!$guard->held() && $guard->lost() === null, 'the child does not hold it');
        expect(!$guard->release(), 'the child does not release it');
    }))->joined();
    is_undisturbed($stage, $guard);
    expect($guard->release(), 'release');

    $released = $stage->locks()->lock('php-fork', 5, function (Guard $guard) use ($stage) {
        $child = pcntl_fork();
        if ($child === 0) {
            return null; // the child leaves its block
        }
        pcntl_waitpid($child, $status);
        same(0, $status, 'the end of the child');
        is_undisturbed($stage, $guard);
        return $guard->release();
    });
    $script === getmypid() || exit(0);
    expect($released, 'release in the block');
}

function fork_exits(Stage $stage): void
{
    $guard = $stage->locks()->acquire('php-fork-exits', 5);
    foreach ([fn () => null, fn () => exit(0), fn () => gc_collect_cycles()] as $end) {
        (new Aside($end))->joined();
        is_undisturbed($stage, $guard);
    }
    (new Aside(fn () => sleep((int) PATIENCE)))->killed();
    is_undisturbed($stage, $guard);
    expect($guard->release(), 'release');
    expect($stage->isFree('php-fork-exits'), 'it is free');
}

/**
 * A process takes a lock, starts another, and ends as `$ends` says; the other lives on. The lock is to be free.
 *
 * @param callable(): int $starts returns the number of the other process
 * @param callable(): mixed $goesOn what the holder does then
 * @param callable(Aside): void $ends
 */
function outlived(Stage $stage, string $name, callable $starts, callable $goesOn, callable $ends): void
{
    [$told, $tells] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    $holder = new Aside(function () use ($stage, $name, $starts, $goesOn, $tells) {
        $GLOBALS['guard'] = $stage->locks()->acquire($name, 5);
        expect(!$stage->isFree($name), 'it is held');
        fwrite($tells, $starts() . "\n");
        $goesOn();
    });
    $other = (int) fgets($told);
    try {
        $ends($holder);
        $stage->becomesFree($name);
    } finally {
        $lived = posix_kill($other, SIGKILL);
    }
    expect($lived, 'the other process lived');
}

function close_on_exec(Stage $stage): void
{
    $sleeps = fn () => sleep((int) PATIENCE);
    $command = function (): int {
        $GLOBALS['command'] = proc_open(['sleep', (string) PATIENCE], [], $pipes);
        return proc_get_status($GLOBALS['command'])['pid'];
    };
    outlived($stage, 'php-exec', $command, $sleeps, fn (Aside $holder) => $holder->killed());
    // A script that comes to its end takes its lock from the children that it has forked, too.
    $child = fn (): int => (new Aside($sleeps))->process;
    outlived($stage, 'php-orderly', $child, fn () => exit(0), fn (Aside $holder) => $holder->joined());
}
