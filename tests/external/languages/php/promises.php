<?php
// Steps: what the server promises, and when it stops to answer. The stubs promise 1 s at a time.
use GetLock\{Broken, GetLock, Guard, Lost};

function told_in_time(Stage $stage): void
{
    $stub = line_stub(fn (int $question) => $question <= 3);
    $guard = (new GetLock(port: $stub->port))->acquire('php-told', 5);
    $heard = $stub->told('question');
    for ($question = 2; $question <= 3; $question++) {
        usleep(250_000); // so long that the client asks again
        expect($guard->held(), 'it is held');
        $heard = $stub->told('question');
    }
    $lost = await('lost', fn () => $guard->lost());
    expect(seconds() < $heard + 1, 'lost in time');
    same(null, $lost->symbol, 'the symbol');
    expect(!$guard->release(), 'it is released');
    $stub->told('closed');
}

function held_in_time(Stage $stage): void
{
    $stub = line_stub(fn (int $question) => $question <= 1);
    $locks = new GetLock(port: $stub->port, stopWithin: 0.1);
    $guard = $locks->acquire('php-held', 5);
    $heard = $stub->told('question');
    expect($guard->held(), 'it is held');
    usleep((int) (($heard + 1 - seconds()) * 1e6));
    expect(!$guard->held(), 'it is held');
    expect(!$guard->release(), 'it is released');
    raises(Lost::class, fn () => $locks->lock('php-held', 5, function (Guard $guard) {
        await('lost', fn () => !$guard->held());
    }));
    $locks = new GetLock(port: $stub->port, stopWithin: 0.8);
    raises(InvalidArgumentException::class, fn () => $locks->acquire('php-held'));
}

function open_to_the_end(Stage $stage): void
{
    // After the loss the body goes on and asks, goes on and does not ask, or ends.
    foreach (['asks', 'works', 'ends'] as $deed) {
        $stub = line_stub(fn (int $question) => $question <= 3);
        $heard = $ended = 0.0;
        $body = function (Guard $guard) use ($stub, $deed, &$heard, &$ended) {
            for ($question = 1; $question <= 3; $question++) {
                $question === 1 || usleep(250_000); // so long that the client asks again
                expect($guard->held(), 'it is held');
                $heard = $stub->told('question');
            }
            await('lost', fn () => !$guard->held());
            while ($deed !== 'ends' && seconds() < $heard + 1.1) {
                usleep(5000);
                expect($deed === 'works' || !$guard->held(), 'it is lost for good');
            }
            $ended = seconds();
        };
        raises(Lost::class, fn () => (new GetLock(port: $stub->port))->lock('php-open', 5, $body));
        $closed = $stub->told('closed');
        expect($deed !== 'asks' || $closed > $heard + 0.8, 'closed before the second is over');
        same($deed === 'asks', $closed < $ended, 'closed before the body ends');
    }
}

function late_grant(Stage $stage): void
{
    // It is granted 0.7 s after the answer, when no time to stop is left. No question is answered from then on.
    $grants = function (int $question): bool {
        $question === 2 && usleep(500_000);
        return $question === 2;
    };
    $stub = line_stub(fn (int $question) => $question === 1, $grants);
    raises(Broken::class, fn () => (new GetLock(port: $stub->port))->acquire('php-late', 0));
    $granted = $stub->told('grant');
    expect($stub->told('closed') < $granted + 2, 'closed');
}

function questions_in_a_wait(Stage $stage): void
{
    $stub = line_stub(fn () => true, fn (int $question) => $question === 3);
    $guard = (new GetLock(port: $stub->port))->acquire('php-questions', 5);
    expect($guard->held(), 'it is held');
    same([42, 7], [$guard->fencingToken, $guard->session], 'the replies in their order');
    expect($guard->release(), 'release');
}
