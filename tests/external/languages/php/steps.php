<?php
// The steps of tests/external/languages/steps.md and some more, each in a function of its name. The wrapper that `install` makes has loaded
// the client. This file is without strict_types, as many scripts are: what is wrong must be refused here, too.
require __DIR__ . '/stage.php';
require __DIR__ . '/locks.php';
require __DIR__ . '/losses.php';
require __DIR__ . '/processes.php';
require __DIR__ . '/promises.php';
require __DIR__ . '/leases.php';
require __DIR__ . '/faults.php';
require __DIR__ . '/introductions.php';
require __DIR__ . '/clusters.php';

const STEPS = [
    'acquire', 'try-lock', 'nothing-is-no-block', 'not-granted', 'body-needs-the-lock', 'decorator-needs-the-lock',
    'body-result', 'shared', 'refused', 'server-away', 'killed-waiting', 'interrupted-waiting', 'lost-in-the-body',
    'lost-and-raised', 'release-after-loss', 'guard-as-block', 'ended-while-waiting', 'ended-as-granted',
    'ended-while-holding', 'fork-leaves', 'fork-exits', 'fork-outlives', 'close-on-exec', 'forever', 'wrong-timeouts',
    'wrong-arguments', 'told-in-time', 'held-in-time', 'open-to-the-end', 'late-grant', 'questions-in-a-wait',
    'several-addresses', 'parked', 'told-in-a-cluster', 'old-leader', 'waits-for-the-next',
    'lease-addresses',
    'introduced', 'lease', 'lease-not-granted', 'lease-lost', 'lease-in-time', 'lease-introduced', 'lease-asked-again',
    'odd-answers', 'answers-without-end', 'without-descriptors', 'clock-of-children', 'lease-heartbeats-fail',
    'lease-odd-answers', 'lease-ended-as-granted',
];

const NOT_IN_PHP = [
    'nothing-is-no-block' => 'PHP has no blocks that are entered',
    'decorator-needs-the-lock' => 'PHP has no decorators',
    'guard-as-block' => 'PHP has no blocks that are entered',
    'fork-outlives' => 'PHP has no hook in a fork',
];

// A warning of PHP is a failure, but where @ says that it is dealt with.
set_error_handler(function (int $severity, string $text, string $file, int $line) {
    return error_reporting() & $severity ? throw new ErrorException($text, 0, $severity, $file, $line) : true;
});

/** Why a step cannot be; null if it can. */
function missing(string $name): ?string
{
    $inherits = $name === 'close-on-exec' && !extension_loaded('sockets');
    return $inherits ? 'PHP lacks the extension sockets' : NOT_IN_PHP[$name] ?? null;
}

/** Whether it went well. */
function step(string $name, Stage $stage): bool
{
    if ($reason = missing($name)) {
        echo "skip $name: $reason\n";
        return true;
    }
    try {
        strtr($name, '-', '_')($stage);
        echo "ok $name\n";
        return true;
    } catch (Throwable $error) {
        $where = basename($error->getFile()) . ':' . $error->getLine();
        echo "not ok $name: ", $error::class, ' ', strtr($error->getMessage(), "\n", ' '), " ($where)\n";
        return false;
    }
}

$stage = new Stage((int) $argv[1], (int) $argv[2]);
$wrong = array_filter(STEPS, fn (string $name) => !step($name, $stage));
exit($wrong ? 1 : 0);
