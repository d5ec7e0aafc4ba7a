<?php
// Steps: locks that no connection holds.
use GetLock\{Lease, Leases, Lost, NotGranted, Refused};

function lease(Stage $stage): void
{
    $lease = $stage->leases()->acquire('php-lease', 0, ttl: 1, client: 'steps', note: 'of PHP');
    expect(is_int($lease->fencingToken) && $lease->leaseToken !== '', 'the tokens');
    for ($end = seconds() + 3; seconds() < $end;) {
        expect($lease->held(), 'it is held');
        expect(!$stage->isFree('php-lease'), 'it is not free');
        usleep(50_000);
    }
    same(null, $stage->leases()->tryLock('php-lease'), 'a second one');
    $child = new Aside(function () use ($lease) {
        expect(!$lease->held() && !$lease->heartbeat() && !$lease->release(), 'the child does not hold it');
    });
    $child->joined();
    expect($lease->release(), 'release');
    expect($stage->isFree('php-lease'), 'it is free');
    $result = $stage->leases()->lock('php-lease', 1, fn (Lease $lease) => [$lease->held(), 'done']);
    same([true, 'done'], $result, 'the result');
    expect($stage->isFree('php-lease'), 'it is free after the body');
    (new Aside(fn () => $stage->leases()->lock('php-lease', 1, fn () => exit(0))))->joined();
    expect($stage->isFree('php-lease'), 'it is free after exit() in the body');
}

function lease_not_granted(Stage $stage): void
{
    $holder = $stage->holder('php-lease-held');
    raises(NotGranted::class, fn () => $stage->leases()->acquire('php-lease-held', 0.05));
    $ran = false;
    raises(NotGranted::class, function () use ($stage, &$ran) {
        return $stage->leases()->lock('php-lease-held', 0, function () use (&$ran) {
            $ran = true;
        });
    });
    expect(!$ran, 'the body ran');
    // One that waits longer than a fifth of its time is renewed before it is given out.
    $aside = new Aside(function () use ($stage, $holder) {
        $stage->waiter('php-lease-held');
        usleep(600_000);
        same('1', $holder->ask('RELEASE_LOCK php-lease-held'), 'RELEASE_LOCK');
    });
    expect($stage->leases()->acquire('php-lease-held', ttl: 0.5)->release(), 'release');
    $aside->joined();
    same('BadRequest', raises(Refused::class, fn () => $stage->leases()->acquire('', 0))->symbol, 'the symbol');
    $holder = $stage->holder('php-lease-held');
    $script = getmypid();
    $aside = new Aside(function () use ($stage, $script) {
        $stage->waiter('php-lease-held');
        posix_kill($script, SIGUSR1);
    });
    raises(Ended::class, fn () => endable(fn () => $stage->leases()->acquire('php-lease-held')));
    await('nobody waits', fn () => $stage->eye->list('WAITERS php-lease-held') === []);
    $aside->joined();
}

function lease_lost(Stage $stage): void
{
    $lost = raises(Lost::class, function () use ($stage) {
        return $stage->leases()->lock('php-lease-lost', 1, function (Lease $lease) use ($stage) {
            $session = $stage->eye->ask('IS_USED_LOCK php-lease-lost');
            same('1', $stage->eye->ask("KILL $session"), 'KILL');
            expect(!$lease->heartbeat(), 'a heartbeat goes on');
            same('NotFound', $lease->lost()->symbol, 'the symbol');
            expect(!$lease->held(), 'it is held');
        }, ttl: 3);
    });
    same('NotFound', $lost->symbol, 'the symbol of the end');
}

function lease_in_time(Stage $stage): void
{
    $stub = new Stub(function ($connection, callable $tell) {
        static $requests = 0;
        while (($line = fgets($connection)) !== false && rtrim($line) !== '') {
            // The head has nothing that matters.
        }
        $status = ['Acquired', 'HeartbeatReceived'][$requests++] ?? null;
        $tell($status ?? 'silence');
        $body = json_encode(['success' => true, 'status' => $status, 'lockToken' => 'a', 'fencingToken' => 42]);
        $status ? fwrite($connection, "HTTP/1.0 200 OK\r\n\r\n$body") : stream_get_contents($connection);
        fclose($connection);
    });
    $lease = (new Leases("http://127.0.0.1:$stub->port"))->acquire('php-lease-in-time', 0, ttl: 1);
    $lost = await('lost', fn () => $lease->lost());
    $heard = $stub->told('HeartbeatReceived');
    expect(seconds() < $heard + 1, 'lost in time');
    same(null, $lost->symbol, 'the symbol');
    expect(!$lease->held() && !$lease->release(), 'it is held');
}
