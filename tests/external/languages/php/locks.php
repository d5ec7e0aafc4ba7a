<?php
// Steps: a lock is granted, or it is not.
use GetLock\{Broken, GetLock, Guard, Leases, NotGranted, Refused};

function acquire(Stage $stage): void
{
    $guard = $stage->locks()->acquire('php-acquire');
    same('php-acquire', $guard->name, 'the name');
    same((string) $guard->session, $stage->eye->ask('IS_USED_LOCK php-acquire'), 'the session');
    expect($guard->held() && $guard->lost() === null, 'it is held');
    expect($guard->release(), 'release');
    expect($stage->isFree('php-acquire'), 'it is free');
    expect(!$guard->held(), 'it is held no more');
    expect($guard->release(), 'release again');
    $next = $stage->locks()->acquire('php-acquire', 1.5);
    expect($next->fencingToken > $guard->fencingToken, 'the next token is greater');
    unset($next);
    $stage->becomesFree('php-acquire');
}

function try_lock(Stage $stage): void
{
    $holder = $stage->holder('php-try');
    $since = seconds();
    same(null, $stage->locks()->tryLock('php-try'), 'a held lock');
    expect(seconds() - $since < 1, 'at once');
    same('1', $holder->ask('RELEASE_LOCK php-try'), 'RELEASE_LOCK');
    $guard = $stage->locks()->tryLock('php-try');
    same(Guard::class, $guard::class, 'a free lock');
    expect($guard->release(), 'release');
}

function not_granted(Stage $stage): void
{
    $holder = $stage->holder('php-not-granted');
    foreach ([0, 0.05] as $timeout) {
        $error = raises(NotGranted::class, fn () => $stage->locks()->acquire('php-not-granted', $timeout));
        expect($error instanceof RuntimeException, 'a RuntimeException');
    }
    same('1', $holder->ask('RELEASE_LOCK php-not-granted'), 'RELEASE_LOCK');
}

function body_needs_the_lock(Stage $stage): void
{
    $holder = $stage->holder('php-body');
    $stage->neverRuns(NotGranted::class, 'php-body', 0);
    $stage->neverRuns(NotGranted::class, 'php-body', 0.1);
    same('1', $holder->ask('RELEASE_LOCK php-body'), 'RELEASE_LOCK');
}

function body_result(Stage $stage): void
{
    $got = $stage->locks()->lock('php-result', 5, fn (Guard $guard) => [$guard->held(), 'done']);
    same([true, 'done'], $got, 'the result');
    expect($stage->isFree('php-result'), 'it is free after the result');
    same(null, $stage->locks()->lock('php-result', null, fn () => null), 'no result');
    $error = raises(DomainException::class, function () use ($stage) {
        return $stage->locks()->lock('php-result', 5, fn () => throw new DomainException('mine'));
    });
    same('mine', $error->getMessage(), 'its error');
    same(null, $error->getPrevious(), 'its cause');
    expect($stage->isFree('php-result'), 'it is free after the error');
}

function shared(Stage $stage): void
{
    $first = $stage->locks()->acquire('php-shared', 5, shared: true);
    $second = $stage->locks()->tryLock('php-shared', true);
    expect($first->held() && $second->held(), 'two at once');
    same(null, $stage->locks()->tryLock('php-shared'), 'an exclusive one beside them');
    $third = $stage->locks()->lock('php-shared', 0, fn () => 'beside', shared: true);
    same('beside', $third, 'a scoped one beside them');
    expect($first->release() && $second->release(), 'release');
    expect($stage->isFree('php-shared'), 'it is free');
}

function refused(Stage $stage): void
{
    foreach (['', str_repeat('n', 65)] as $name) {
        same('BAD_NAME', $stage->neverRuns(Refused::class, $name, -1)->symbol, 'the symbol');
    }
}

function server_away(Stage $stage): void
{
    $listener = stream_socket_server('tcp://127.0.0.1:0');
    $port = (int) substr(strrchr(stream_socket_get_name($listener, false), ':'), 1);
    fclose($listener);
    $away = new Stage($stage->line, 0);
    $ran = false;
    $since = seconds();
    raises(Broken::class, function () use ($port, &$ran) {
        return (new GetLock(port: $port, retry: 0.6))->lock('php-away', null, function () use (&$ran) {
            $ran = true;
        });
    });
    expect(!$ran, 'the body ran');
    $took = seconds() - $since;
    expect($took > 0.1 && $took < 3, "when retry is over, not after $took s");
}

function killed_waiting(Stage $stage): void
{
    ended_by_another($stage, 'php-killed-waiting', 'KILL', 'KILLED');
}

function interrupted_waiting(Stage $stage): void
{
    ended_by_another($stage, 'php-interrupted-waiting', 'KILL QUERY', 'INTERRUPTED');
}

function ended_by_another(Stage $stage, string $name, string $kill, string $symbol): void
{
    $holder = $stage->holder($name);
    $aside = new Aside(function () use ($stage, $name, $kill) {
        $id = $stage->waiter($name);
        same('1', (new Session($stage->line))->ask("$kill $id"), $kill);
    });
    same($symbol, $stage->neverRuns(Refused::class, $name, 60)->symbol, 'the symbol');
    $aside->joined();
    same([], $stage->eye->list("WAITERS $name"), 'and it does not queue again');
    same('1', $holder->ask("RELEASE_LOCK $name"), 'RELEASE_LOCK');
}

function forever(Stage $stage): void
{
    foreach ([null, INF, -1, -0.5, 1e300, PHP_INT_MAX, PHP_FLOAT_MAX] as $timeout) {
        $holder = $stage->holder('php-forever');
        $aside = new Aside(function () use ($stage, $holder) {
            $stage->waiter('php-forever');
            same('1', $holder->ask('RELEASE_LOCK php-forever'), 'RELEASE_LOCK');
        });
        expect($stage->locks()->acquire('php-forever', $timeout)->release(), 'release');
        $aside->joined();
    }
}

/** Calls that are refused before a connection is made, each by this error. */
function never_connect(array $calls): void
{
    $listener = stream_socket_server('tcp://127.0.0.1:0');
    $port = (int) substr(strrchr(stream_socket_get_name($listener, false), ':'), 1);
    $locks = new GetLock(port: $port);
    $leases = new Leases("http://127.0.0.1:$port");
    foreach ($calls as [$error, $call]) {
        raises($error, fn () => $call($locks));
        raises($error, fn () => $call($leases));
    }
    $read = [$listener];
    $none = null;
    same(0, stream_select($read, $none, $none, 0), 'connections');
}

function wrong_timeouts(Stage $stage): void
{
    $never = fn () => throw new RuntimeException('the body ran');
    $calls = [];
    foreach (['10', '', 'soon', true, false, [], [10], new stdClass(), STDERR, NAN] as $timeout) {
        $error = is_float($timeout) ? InvalidArgumentException::class : TypeError::class;
        $calls[] = [$error, fn ($locks) => $locks->acquire('php-wrong', $timeout)];
        $calls[] = [$error, fn ($locks) => $locks->lock('php-wrong', $timeout, $never)];
    }
    never_connect($calls);
    raises(InvalidArgumentException::class, fn () => new GetLock(stopWithin: NAN));
    raises(InvalidArgumentException::class, fn () => new GetLock(stopWithin: -1));
    raises(InvalidArgumentException::class, fn () => new GetLock(retry: NAN));
    raises(InvalidArgumentException::class, fn () => $stage->leases()->acquire('php-wrong', 0, ttl: NAN));
    raises(InvalidArgumentException::class, fn () => $stage->leases()->acquire('php-wrong', 0, ttl: 0));
    raises(TypeError::class, fn () => $stage->leases()->acquire('php-wrong', 0, ttl: '45'));
}

function wrong_arguments(Stage $stage): void
{
    never_connect([
        [TypeError::class, fn ($locks) => $locks->acquire(10, 'nightly')],
        [TypeError::class, fn ($locks) => $locks->lock(10, 'nightly', fn () => null)],
        [TypeError::class, fn ($locks) => $locks->lock('nightly', fn () => null, 10)],
        [TypeError::class, fn ($locks) => $locks->acquire(10)],
        [TypeError::class, fn ($locks) => $locks->acquire(null)],
        [TypeError::class, fn ($locks) => $locks->acquire(['nightly'])],
        [TypeError::class, fn ($locks) => $locks->tryLock(7)],
        [TypeError::class, fn ($locks) => $locks->tryLock('nightly', '10')],
        [TypeError::class, fn ($locks) => $locks->acquire('nightly', 10, shared: 1)],
        [InvalidArgumentException::class, fn ($locks) => $locks->acquire("night\xff", 0)],
        [InvalidArgumentException::class, fn ($locks) => $locks->tryLock("\xc0\x80")],
        [InvalidArgumentException::class, fn ($locks) => $locks->lock("\xed\xa0\x80", 0, fn () => null)],
    ]);
}
