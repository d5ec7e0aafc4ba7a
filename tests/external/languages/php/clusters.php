<?php
// Steps: clusters, played by stubs of their nodes.
use GetLock\{Broken, GetLock, Guard, Leases, Refused};

const NO_LEADER = "ERROR UNAVAILABLE no leader\n";
const NO_LEADER_BODY = '{"success":false,"status":"Unavailable","message":"no leader"}';
const NO_LEADER_HTTP = "HTTP/1.1 503 No\r\n\r\n" . NO_LEADER_BODY;

/** A node that cannot serve: it says so, or closes the connection without a word. */
function elsewhere(string $words): Stub
{
    return new Stub(function ($connection, callable $tell) use ($words) {
        $tell('visit');
        fread($connection, 8192);
        fwrite($connection, $words);
        fclose($connection);
    });
}

function nowhere(): string
{
    $closed = stream_socket_server('tcp://127.0.0.1:0');
    return stream_socket_get_name($closed, false);
}

function at(Stub $stub): string
{
    return "127.0.0.1:$stub->port";
}

/** Grants, and answers questions with these promises: the last of them again and again, or null for silence. */
function node(?string ...$promises): Stub
{
    return odd_stub(function (string $verb, int $count, $connection) use ($promises) {
        if ($verb !== 'KEEPALIVE') {
            return null;
        }
        $promise = $promises[min($count, count($promises)) - 1];
        return $promise === null ? without_answer($connection) : "KEEPALIVE $promise";
    });
}

function without_answer($connection): string
{
    while (fgets($connection) !== false) {
        // Nothing is answered any more.
    }
    return '';
}

function several_addresses(Stage $stage): void
{
    $take = fn (GetLock $locks) => expect($locks->acquire('php-several', 0)->release(), 'release');
    $good = node('left=25.000');
    $take(new GetLock(nowhere() . ', ' . at($good)));
    foreach (['', NO_LEADER, "ERROR SHUTDOWN the server is stopping\n"] as $words) {
        $other = elsewhere($words);
        $locks = new GetLock(['127.0.0.1', at($good)], $other->port, retry: 0);
        $take($locks);
        $other->told('visit');
        $take($locks);
        $take($locks);
        expect(!$other->hasTold('visit'), 'the last good one is not the first');
    }
    [$one, $two] = [elsewhere(NO_LEADER), elsewhere(NO_LEADER)];
    $error = raises(Refused::class, fn () => (new GetLock([at($one), at($two)]))->acquire('php-several', 0));
    same('UNAVAILABLE', $error->symbol, 'the symbol');
    $two->told('visit');
    foreach (['', 'a:3305,', 'a:99999', []] as $wrong) {
        raises(InvalidArgumentException::class, fn () => new GetLock($wrong));
    }
}

function parked(Stage $stage): void
{
    $node = odd_stub(fn (string $verb) => $verb === 'CONNECTION_ID' ? (sleep(4) ?: null) : null);
    $other = elsewhere('');
    expect((new GetLock([at($node), at($other)], name: ''))->acquire('php-parked', 0)->release(), 'release');
    expect(!$other->hasTold('visit'), 'another was tried');
}

function told_in_a_cluster(Stage $stage): void
{
    $stub = line_stub(fn () => true, left: fn (int $question) => match ($question) {
        1 => 'left=0.800 term=7',
        2 => 'left=1.000 term=7',
        default => 'left=0.700 term=7',
    });
    $guard = (new GetLock(port: $stub->port, stopWithin: 0.2))->acquire('php-cluster', 0);
    for ($until = seconds() + 1.5; seconds() < $until; usleep(5000)) {
        expect($guard->held(), 'it is held as long as it is answered');
    }
    $asked = array_map(fn () => $stub->told('question'), range(1, 10));
    $spans = array_map(fn (float $sooner, float $later) => $later - $sooner, array_slice($asked, 2, 7), array_slice($asked, 3));
    sort($spans);
    expect($spans[3] > 0.09 && $spans[3] < 0.18, "a question each $spans[3] s");
    expect($guard->release(), 'release');

    $stub = node('left=1.000 term=7', null);
    $guard = (new GetLock(port: $stub->port, stopWithin: 0.3))->acquire('php-cluster', 0);
    within(0.8, fn () => await('lost', fn () => $guard->lost()));
    $stub = node('left=1.000 term=7');
    $locks = new GetLock(port: $stub->port, stopWithin: 0.31);
    $error = raises(InvalidArgumentException::class, fn () => $locks->acquire('php-cluster', 0));
    expect(str_contains($error->getMessage(), '--cluster-ttl'), $error->getMessage());
}

function old_leader(Stage $stage): void
{
    $stub = node('left=1.000 term=8', 'left=1.000 term=7');
    $guard = (new GetLock(port: $stub->port))->acquire('php-old', 0);
    $lost = within(0.5, fn () => await('lost', fn () => $guard->lost()));
    expect(str_contains($lost->getMessage(), 'no longer leads'), $lost->getMessage());
    $guard->release();
    $stub->told('closed');

    // All connections of a client know the highest term.
    [$new, $old] = [node('left=1.000 term=8', null), node('left=1.000 term=7')];
    $locks = new GetLock([at($new), at($old)], retry: 0);
    $guard = $locks->acquire('php-old', 0);
    $guard->release();
    unset($new);
    raises(Broken::class, fn () => $locks->acquire('php-old', 0));
    $old->told('closed');

    $stub = node('left=1.000 term=8', 'left=1.000 term=9');
    $guard = (new GetLock(port: $stub->port))->acquire('php-old', 0);
    within(0.5, fn () => await('a connection is of one term', fn () => $guard->lost()));

    $stub = node('left=0.000 term=8');
    raises(Broken::class, fn () => (new GetLock(port: $stub->port, retry: 0))->acquire('php-old', 0));
    $stub->told('closed');
}

/** The leader vanishes while a client waits: its questions find that out. */
function waits_for_the_next(Stage $stage): void
{
    $old = line_stub(fn (int $question) => $question === 1, fn () => false, left: fn () => 'left=0.500 term=7');
    $next = node('left=1.000 term=8');
    $since = seconds();
    $guard = (new GetLock([at($old), at($next)]))->acquire('php-waits', 30);
    $took = seconds() - $since;
    expect($took > 0.4 && $took < 5, "the next one serves after $took s");
    expect($guard->release(), 'release');
}

function lease_addresses(Stage $stage): void
{
    $url = fn (Stub $stub) => 'http://' . at($stub);
    $good = lease_stub(fn () => null);
    $leases = new Leases('http://' . nowhere() . ',' . $url($good), retry: 0);
    expect($leases->acquire('php-leases', 0)->release(), 'release');
    foreach (['', NO_LEADER_HTTP] as $words) {
        $other = elsewhere($words);
        $leases = new Leases([$url($other), $url($good)]);
        expect($leases->acquire('php-leases', 0)->release(), 'release');
        $other->told('visit');
        expect($leases->acquire('php-leases', 0)->release(), 'release');
        expect(!$other->hasTold('visit'), 'the last good one is not the first');
    }
    // The lease outlives the leader: the next node takes its heartbeats.
    $failing = fn (string $verb) => $verb === 'heartbeat' ? ['success' => false, 'status' => 'Unavailable'] : null;
    $first = lease_stub($failing);
    $lease = (new Leases([$url($first), $url($good)]))->acquire('php-leases', 0, ttl: 1);
    for ($until = seconds() + 2; seconds() < $until; usleep(5000)) {
        expect($lease->held(), 'it is kept by the other');
    }
    expect($lease->release(), 'release');
    // What an old leader acknowledges does not count.
    $old = lease_stub(fn (string $verb) => match ($verb) {
        'acquire' => ['success' => true, 'status' => 'Acquired', 'lockToken' => 'secret', 'fencingToken' => 4, 'term' => 8],
        'heartbeat' => ['success' => true, 'status' => 'HeartbeatReceived', 'term' => 7],
        default => null,
    });
    $lease = (new Leases($url($old)))->acquire('php-leases', 0, ttl: 1);
    within(1, fn () => await('lost', fn () => $lease->lost()));
    $old->told('heartbeat');
}
