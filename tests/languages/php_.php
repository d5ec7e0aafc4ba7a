<?php
// What tests/languages.rs tells the client of PHP to do.
require __DIR__ . '/../../clients/php/GetLock.php';

use GetLock\{Broken, GetLock, Guard, Lost, Refused};

$ca = getenv('GETLOCK_CA');
$locks = new GetLock(
    port: (int) $argv[1],
    user: getenv('GETLOCK_USER') ?: null,
    password: getenv('GETLOCK_PASSWORD') ?: '',
    tls: $ca ? ['cafile' => $ca] : null,
);

function command(): array
{
    $line = fgets(STDIN);
    return $line === false ? exit : explode(' ', str_replace('␤', "\n", rtrim($line, "\n")), 3);
}

function hold(?Guard $guard): string
{
    if (!$guard) {
        return 'none';
    }
    echo "granted $guard->token\n";
    [$verb] = command();
    while ($verb === 'watch' && $guard->held()) {
        usleep(1000); // a step of the work
    }
    $words = ['release' => 'released', 'leave' => 'left', 'watch' => 'still held'];
    return $guard->release() ? $words[$verb] : 'lost' . ($guard->lost->symbol ? " {$guard->lost->symbol}" : '');
}

while (true) {
    [$verb, $timeout, $name] = command();
    try {
        echo hold($verb === 'lock' ? $locks->lock($name, $timeout) : $locks->sharedLock($name, $timeout)), "\n";
    } catch (Refused $refused) {
        echo "refused $refused->symbol\n";
    } catch (Broken) {
        echo "away\n";
    }
}
