<?php
// Steps: what the lists show of a client, and a request that is sent again.
use GetLock\{GetLock, Guard, Lease, Leases};

function own_name(): string
{
    return '@' . gethostname() . '[' . getmypid() . "] steps.php'";
}

function introduced(Stage $stage): void
{
    $stage->locks()->lock('php-introduced', 0, function (Guard $guard) use ($stage) {
        $stage->shows(own_name(), 'php-introduced');
        expect(!str_contains($stage->row('php-introduced'), 'note='), 'there is a note');
        $facts = ['name' => 'php-introduced', 'fencingToken' => $guard->fencingToken, 'session' => $guard->session];
        same($facts, $guard->__debugInfo(), 'what var_dump() shows');
    });
    $named = new GetLock(port: $stage->line, name: "it's me", note: 'nightly \\ backup');
    $wanted = "client='it\\'s me' note='nightly \\\\ backup'";
    $named->lock('php-introduced', 0, fn () => $stage->shows($wanted, 'php-introduced'));
    $unnamed = new GetLock(port: $stage->line, name: '');
    $row = $unnamed->lock('php-introduced', 0, fn () => $stage->row('php-introduced'));
    expect(!str_contains($row, 'client='), $row);
    $long = str_repeat('n', 257);
    foreach ([['name' => $long], ['note' => $long], ['name' => '', 'note' => 'none']] as $wrong) {
        raises(InvalidArgumentException::class, fn () => new GetLock(...$wrong));
    }
    $older = line_stub(fn () => true, null, 'ERROR UNKNOWN_COMMAND it is older');
    expect((new GetLock(port: $older->port))->acquire('php-introduced')->release(), 'an older server grants, too');
}

function lease_introduced(Stage $stage): void
{
    $url = "http://127.0.0.1:$stage->http";
    $shows = function (string $wanted, array $options, array $each = []) use ($stage, $url) {
        $leases = new Leases($url, ...$options);
        $leases->lock('php-lease-shown', 0, fn () => $stage->shows($wanted, 'php-lease-shown'), ...$each);
    };
    $shows(own_name(), []);
    $shows('client=web-1 note=backup', ['name' => 'web-1', 'note' => 'backup']);
    $shows('client=web-2 note=repair', ['name' => 'web-1'], ['client' => 'web-2', 'note' => 'repair']);
    $row = (new Leases($url, name: ''))->lock('php-lease-shown', 0, fn () => $stage->row('php-lease-shown'));
    expect(!str_contains($row, 'client='), $row);
    foreach (['client', 'note'] as $what) {
        $wrong = [$what => str_repeat('n', 257)];
        raises(InvalidArgumentException::class, fn () => $stage->leases()->acquire('php-lease-shown', ...$wrong));
    }
}

/** Passes on requests, and loses the answer to the first acquire. The id of each is told. */
function losing_proxy(int $server): Stub
{
    return new Stub(function ($connection, callable $tell) use ($server) {
        static $asked = 0;
        $head = '';
        while (!str_ends_with($head, "\r\n\r\n")) {
            $head .= fgets($connection);
        }
        preg_match('/content-length: *(\d+)/i', $head, $match);
        $body = stream_get_contents($connection, (int) $match[1]);
        $behind = stream_socket_client("tcp://127.0.0.1:$server");
        fwrite($behind, $head . $body);
        $answer = stream_get_contents($behind);
        $isAcquire = str_contains($head, '/acquire');
        $isAcquire && $tell(json_decode($body, true)['requestId']);
        ($isAcquire && ++$asked === 1) || fwrite($connection, $answer);
        fclose($connection);
    });
}

function lease_asked_again(Stage $stage): void
{
    $proxy = losing_proxy($stage->http);
    $ids = [];
    for ($turn = 0; $turn < 2; $turn++) {
        $lease = (new Leases("http://127.0.0.1:$proxy->port"))->acquire('php-lease-again', 0);
        expect($lease->held(), 'it is held');
        $stage->row('php-lease-again');
        expect($lease->release() && $stage->isFree('php-lease-again'), 'it is free');
        array_push($ids, ...$proxy->words($turn === 0 ? 2 : 1));
    }
    same([true, false], [$ids[0] === $ids[1], $ids[1] === $ids[2]], 'the ids are the same');
    expect(preg_match('/^[!-~]{16,64}$/D', $ids[0]) === 1, $ids[0]);
}
