<?php
// What every driver does, step by step: see steps.py.
function say($word)
{
    echo "$word\n";
    fgets(STDIN);
}

function equal($got, $wanted)
{
    if ((int) $got !== $wanted) {
        throw new Exception("$got is not $wanted");
    }
}

// `$ask($sql, $args)` is the first value of the first row.
function steps($ask)
{
    equal($ask("SELECT GET_LOCK('nightly', 10)", []), 1);
    say('held');
    equal($ask("SELECT RELEASE_LOCK('nightly')", []), 1);
    say('released');
    equal($ask('SELECT GET_LOCK(?, ?)', ['nightly', 0]), 0);
    say('refused');
    equal($ask('SELECT GET_LOCK(?, ?)', ['nightly', '10.5']), 1);
    equal($ask('SELECT IS_USED_LOCK(?) = CONNECTION_ID()', ['nightly']), 1);
    say('again');
    if (function_exists('posix_kill')) {
        posix_kill(getmypid(), 9); // without a goodbye
    }
}
