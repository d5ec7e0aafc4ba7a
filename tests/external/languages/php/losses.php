<?php
// Steps: a lock is lost while it is held.
use GetLock\{Guard, Lost};

function lost_in_the_body(Stage $stage): void
{
    $lost = raises(Lost::class, function () use ($stage) {
        return $stage->locks()->lock('php-lost', 5, function (Guard $guard) use ($stage) {
            $stage->kill($guard);
            $lost = await('lost', fn () => $guard->lost());
            same('KILLED', $lost->symbol, 'the symbol');
            expect(!$guard->held(), 'it is held');
            return 'done';
        });
    });
    same('KILLED', $lost->symbol, 'the symbol of the end');
    expect($stage->isFree('php-lost'), 'it is free');
    $unasked = raises(Lost::class, function () use ($stage) {
        return $stage->locks()->lock('php-lost', 5, fn (Guard $guard) => $stage->kill($guard));
    });
    same('KILLED', $unasked->symbol, 'the symbol of a body that did not ask');
}

function lost_and_raised(Stage $stage): void
{
    $raise = fn (callable $error) => raises(DomainException::class, function () use ($stage, $error) {
        return $stage->locks()->lock('php-raised', 5, function (Guard $guard) use ($stage, $error) {
            $stage->kill($guard);
            await('lost', fn () => $guard->lost());
            throw $error($guard);
        });
    });
    $error = $raise(fn () => new DomainException('mine'));
    same('mine', $error->getMessage(), 'the error');
    same('KILLED', $error->getPrevious()->symbol, 'its cause');
    $error = $raise(fn () => new DomainException('mine', 0, new TypeError('why')));
    same(Lost::class, $error->getPrevious()->getPrevious()::class, 'the cause of its cause');
    $error = $raise(fn (Guard $guard) => new DomainException('mine', 0, $guard->lost()));
    same(null, $error->getPrevious()->getPrevious(), 'the cause of a loss');
    raises(Lost::class, function () use ($stage) {
        return $stage->locks()->lock('php-raised', 5, function (Guard $guard) use ($stage) {
            $stage->kill($guard);
            throw await('lost', fn () => $guard->lost());
        });
    });
}

function release_after_loss(Stage $stage): void
{
    $guard = $stage->locks()->acquire('php-after-loss', 5);
    $stage->kill($guard);
    same(false, $guard->release(), 'release');
    same(false, $guard->release(), 'release again');
    same('KILLED', $guard->lost()->symbol, 'the symbol');
    expect(!$guard->held(), 'it is held');
}
