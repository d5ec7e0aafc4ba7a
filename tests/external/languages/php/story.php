<?php
// What tests/external/languages.rs tells the client of PHP to do. The wrapper that `install` makes has loaded the client.
use GetLock\{Broken, GetLock, Guard, Lost, NotGranted, Refused};

$ca = getenv('GETLOCK_CA');
$locks = new GetLock(
    host: getenv('GETLOCK_HOST') ?: '127.0.0.1',
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

function say(string $word): void
{
    echo "$word\n";
}

/** While the lock is held. The word is for when it has been held to the end. */
function body(Guard $guard): ?string
{
    say("granted $guard->fencingToken");
    [$verb] = command();
    while ($verb === 'watch' && $guard->held()) {
        usleep(2000); // a step of the work
    }
    if ($verb === 'release') {
        say($guard->release() ? 'released' : 'not released');
    }
    return $verb === 'leave' ? 'left' : null;
}

while (true) {
    [$verb, $timeout, $name] = command();
    try {
        $left = $locks->lock($name, (float) $timeout, body(...), shared: $verb === 'shared');
        $left && say($left);
    } catch (NotGranted) {
        say('none');
    } catch (Lost $lost) {
        say(rtrim("lost $lost->symbol"));
    } catch (Refused $refused) {
        say("refused $refused->symbol");
    } catch (Broken) {
        say('away');
    }
}
