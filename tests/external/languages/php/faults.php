<?php
// More steps, which only PHP has: servers that answer what they may not, or without end, scripts without a free
// descriptor, and waits for leases that end in the moment of the grant.
use GetLock\{Broken, Clock, GetLock, Guard, Lease, Leases, Lost};

/** Serves the line protocol, and says to each verb what `$odd` says to it and its number; null is what is right. */
function odd_stub(callable $odd): Stub
{
    return new Stub(function ($connection, callable $tell) use ($odd) {
        $right = ['INTRODUCE' => '1', 'CONNECTION_ID' => '7', 'FENCING_TOKEN' => '42', 'RELEASE_LOCK' => '1', 'GET_LOCK' => '1'];
        $count = [];
        while (($line = fgets($connection)) !== false) {
            $verb = strtok(rtrim($line), ' ');
            $count[$verb] = ($count[$verb] ?? 0) + 1;
            $reply = $odd($verb, $count[$verb], $connection) ?? $right[$verb] ?? 'KEEPALIVE left=1.000';
            @fwrite($connection, "$reply\n");
        }
        $tell('closed');
    });
}

/** Serves leases. Each request is told, and answered with what `$answers` says to its verb, number and body. */
function lease_stub(callable $answers): Stub
{
    return new Stub(function ($connection, callable $tell) use ($answers) {
        static $count = [];
        $verb = basename(explode(' ', fgets($connection))[1]);
        $length = 0;
        while (($line = rtrim((string) fgets($connection))) !== '') {
            $length = sscanf($line, 'Content-Length: %d')[0] ?? $length;
        }
        $body = json_decode(stream_get_contents($connection, $length), true);
        $tell($verb);
        $count[$verb] = ($count[$verb] ?? 0) + 1;
        $answer = $answers($verb, $count[$verb], $connection) ?? match ($verb) {
            'acquire' => ['success' => true, 'status' => 'Acquired', 'lockToken' => 'secret', 'fencingToken' => 42],
            'heartbeat' => ['success' => true, 'status' => 'HeartbeatReceived'],
            'release' => ['success' => true, 'status' => $body['lockToken'] === 'secret' ? 'Released' : 'NotFound'],
        };
        @fwrite($connection, "HTTP/1.0 200 OK\r\n\r\n" . json_encode($answer));
        fclose($connection);
        $verb === 'release' && $answer['status'] === 'Released' && $tell('released');
    });
}

function leases_of(Stub $stub, ?float $stopWithin = null): Leases
{
    return new Leases("http://127.0.0.1:$stub->port", stopWithin: $stopWithin);
}

/** Sends this until the other side closes. */
function without_end($connection, string $what, int $pause = 0): void
{
    while (@fwrite($connection, $what)) {
        usleep($pause);
    }
}

/** Expects that the call takes less time. */
function within(float $seconds, callable $call): mixed
{
    $since = seconds();
    $result = $call();
    $took = seconds() - $since;
    expect($took < $seconds, "it took $took s");
    return $result;
}

function odd_answers(Stage $stage): void
{
    $odd = [
        'CONNECTION_ID' => ['NULL', '-7', 'seven'],
        'GET_LOCK' => ['NULL', '2', '10', ' 0', 'KEEPALIVE'],
        'FENCING_TOKEN' => ['NULL', '-42', '4.2', '42 '],
        'KEEPALIVE' => ['nan', '-1', '1e3', '', '1.000s', 'inf'],
    ];
    foreach ($odd as $verb => $replies) {
        foreach ($replies as $reply) {
            $text = $verb === 'KEEPALIVE' ? "KEEPALIVE left=$reply" : $reply;
            $stub = odd_stub(fn (string $asked) => $asked === $verb ? $text : null);
            raises(Broken::class, fn () => (new GetLock(port: $stub->port))->tryLock('php-odd'));
            $stub->told('closed');
        }
    }
    $stub = odd_stub(fn (string $verb) => $verb === 'GET_LOCK' ? '0' : null);
    same(null, (new GetLock(port: $stub->port))->tryLock('php-odd'), 'a lock that others have');
    $later = ['KEEPALIVE left=0.500', 'KEEPALIVE left=0.000', 'KEEPALIVE left=nan', '1'];
    foreach ($later as $reply) {
        $stub = odd_stub(fn (string $verb, int $nth) => $verb === 'KEEPALIVE' && $nth > 1 ? $reply : null);
        $guard = (new GetLock(port: $stub->port, stopWithin: 0.4))->acquire('php-odd', 5);
        usleep(250_000); // so long that the client asks again
        expect(!$guard->held(), "it is held after $reply");
        same([Lost::class, null], [$guard->lost()::class, $guard->lost()->symbol], 'the loss');
        usleep(100_000);
        expect(!$guard->held() && !$stub->hasTold('closed'), 'the work has no time to stop');
        expect(!$guard->release(), 'it is released');
    }
}

function answers_without_end(Stage $stage): void
{
    $lines = str_repeat("KEEPALIVE left=1.000\n", 1000);
    foreach ([[$lines, 0], [str_repeat('x', 10_000), 0], ['x', 5000], [str_repeat("0\n", 1000), 0]] as [$what, $pause]) {
        $stub = odd_stub(function (string $verb, int $nth, $connection) use ($what, $pause) {
            $verb === 'KEEPALIVE' && $nth > 1 && without_end($connection, $what, $pause);
        });
        $guard = (new GetLock(port: $stub->port))->acquire('php-flood', 5);
        usleep(250_000); // so long that the client asks again
        within(2, fn () => await('lost', fn () => !$guard->held()));
        expect(!within(2, fn () => $guard->release()), 'it is released');
    }
    foreach ([['x', 5000], [str_repeat('x', 10_000), 0]] as [$what, $pause]) {
        $stub = lease_stub(function (string $verb, int $nth, $connection) use ($what, $pause) {
            $verb === 'heartbeat' && without_end($connection, $what, $pause);
        });
        $lease = leases_of($stub)->acquire('php-flood', 5, ttl: 1);
        within(2, fn () => await('lost', fn () => !$lease->held()));
    }
}

/** Leaves so many descriptors free, which the script has for files. */
function descriptors(int $free): array
{
    $files = [];
    while ($file = @fopen('/dev/null', 'r')) {
        $files[] = $file;
    }
    return array_slice($files, $free);
}

function without_descriptors(Stage $stage): void
{
    $aside = new Aside(function () use ($stage) {
        posix_setrlimit(POSIX_RLIMIT_NOFILE, 100, 100);
        $guard = $stage->locks()->acquire('php-files', 5);
        $lease = $stage->leases()->acquire('php-files-lease', 5, ttl: 1);
        $files = descriptors(0);
        usleep(1_200_000);
        expect($guard->held(), 'the guard needs no other descriptor');
        expect(!$lease->held(), 'the lease is held forever');
        // How many a connection needs is its own matter. With less there is an error, and never a warning.
        $locks = new GetLock(port: $stage->line, retry: 0);
        for ($free = 0; $free < 8; $free++) {
            $files = [];
            $files = descriptors($free);
            try {
                expect($locks->acquire('php-files-more', 5)->release(), 'release');
                break;
            } catch (Broken) {
                // There were not enough.
            }
        }
        expect($free > 0 && $free < 8, "$free descriptors");
        // Something closes all that it finds.
        $isClock = fn ($stream) => (stream_get_meta_data($stream)['uri'] ?? '') === '/proc/uptime';
        $clocks = array_filter(get_resources('stream'), $isClock);
        array_map(fclose(...), $clocks);
        expect($guard->held(), 'the clock is opened again');
        array_map(fclose(...), array_filter(get_resources('stream'), $isClock));
        $more = descriptors(0);
        same($clocks === [], $guard->held(), 'what is held without a clock');
        $files = $more = [];
        same($clocks === [], $guard->held(), 'what is held after that');
        $guard->release();
    });
    $aside->joined();
    expect($stage->isFree('php-files'), 'it is free');
}

function clock_of_children(Stage $stage): void
{
    $read = function () {
        for ($last = 0.0, $end = seconds() + 0.3; seconds() < $end; $last = $now) {
            $now = Clock::now();
            expect($now >= $last, 'it goes on');
        }
    };
    Clock::now();
    $child = new Aside($read);
    $read();
    $child->joined();
}

function lease_heartbeats_fail(Stage $stage): void
{
    $busy = ['success' => false, 'status' => 'Unavailable'];
    $serve = fn (int $good, int $failed) => lease_stub(
        function (string $verb, int $nth, $connection) use ($busy, $good, $failed) {
            $verb === 'heartbeat' && $nth > $good + $failed && stream_get_contents($connection); // it hangs
            return $verb === 'heartbeat' && $nth > $good ? $busy : null;
        }
    );
    $stub = $serve(1, 1);
    $lease = leases_of($stub)->acquire('php-fails', 5, ttl: 2);
    usleep(1_700_000);
    expect($lease->held(), 'late is not lost: the script was away'); // the heartbeat is acknowledged
    $since = $stub->told('heartbeat');
    usleep(1_200_000);
    expect($lease->heartbeat(), 'it is held though a heartbeat failed');
    $stub->told('heartbeat');
    usleep((int) (($since + 1.65 - seconds()) * 1e6)); // less than a fifth of its time is left
    expect(!within(0.2, fn () => $lease->held()), 'it is held');
    same(null, $lease->lost()->symbol, 'the symbol');
    // A server that hangs after that is not waited for beyond the end.
    $stub = $serve(0, 3);
    $lease = leases_of($stub)->acquire('php-fails', 5, ttl: 1);
    $heard = $stub->told('acquire');
    await('lost', fn () => !$lease->held());
    expect(seconds() < $heard + 0.95, 'lost in time');
}

function lease_odd_answers(Stage $stage): void
{
    $acquired = ['success' => true, 'status' => 'Acquired'];
    $odd = [$acquired, $acquired + ['lockToken' => 7, 'fencingToken' => 42], ['status' => 'Acquired'], [], 'x',
        ['success' => true, 'status' => 'Released', 'lockToken' => 'secret', 'fencingToken' => 42],
        ['success' => false, 'status' => ['Busy']], ['success' => 'true'] + $acquired];
    foreach ($odd as $answer) {
        $stub = lease_stub(fn (string $verb) => $verb === 'acquire' ? $answer : null);
        raises(Broken::class, fn () => leases_of($stub)->acquire('php-odd', 5));
    }
    $stub = lease_stub(fn (string $verb) => $verb === 'acquire' ? $acquired + ['lockToken' => 'secret'] : null);
    raises(Broken::class, fn () => leases_of($stub)->acquire('php-odd', 5));
    $stub->told('released');
    $gone = ['success' => false, 'status' => 'NotFound', 'message' => []];
    $stub = lease_stub(fn (string $verb) => $verb === 'heartbeat' ? $gone : null);
    $lease = leases_of($stub)->acquire('php-odd', 5);
    expect(!$lease->heartbeat(), 'a heartbeat goes on');
    same('NotFound', $lease->lost()->symbol, 'the symbol');
    $stub = lease_stub(fn (string $verb) => $verb === 'heartbeat' ? ['status' => 'Released', 'success' => true] : null);
    $lease = leases_of($stub)->acquire('php-odd', 5, ttl: 1);
    await('lost', fn () => !$lease->held());
    same(null, $lease->lost()->symbol, 'the symbol of what is no heartbeat');
}

function lease_ended_as_granted(Stage $stage): void
{
    // The signal comes before the answer, or while the first heartbeat tells for how long the lease runs still.
    foreach (['acquire', 'heartbeat'] as $moment) {
        $script = getmypid();
        $serve = fn (string $who) => lease_stub(function (string $verb) use ($moment, &$script) {
            $verb === 'acquire' && usleep(250_000);
            $verb === $moment && posix_kill($script, SIGUSR1);
            $verb === $moment && usleep(100_000);
        });
        $stub = $serve('the script');
        raises(Ended::class, fn () => endable(fn () => leases_of($stub)->acquire('php-as-granted', ttl: 1)));
        $stub->told('released');
        (new Aside(function () use ($serve, &$script) {
            $script = getmypid();
            $stub = $serve('a script that exits');
            pcntl_async_signals(true);
            pcntl_signal(SIGUSR1, function () use ($stub) {
                register_shutdown_function(fn () => register_shutdown_function(
                    fn () => register_shutdown_function(fn () => $stub->told('released'))));
                exit(0);
            });
            leases_of($stub)->acquire('php-as-granted', ttl: 1);
        }))->joined();
    }
    $script = getmypid();
    for ($turn = 0; $turn < 20; $turn++) {
        $holder = $stage->holder('php-lease-granted');
        $aside = new Aside(function () use ($stage, $script, $holder, $turn) {
            $stage->waiter('php-lease-granted');
            $turn % 2 || posix_kill($script, SIGUSR1);
            $holder->ask('RELEASE_LOCK php-lease-granted');
            $turn % 2 && posix_kill($script, SIGUSR1);
        });
        $body = fn () => await('the signal', fn () => false);
        raises(Ended::class, fn () => endable(fn () => $stage->leases()->lock('php-lease-granted', 60, $body)));
        $stage->becomesFree('php-lease-granted');
        $aside->joined();
    }
}
