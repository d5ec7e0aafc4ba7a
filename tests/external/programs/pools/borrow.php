<?php
// What every script of a pool does: see borrow.py. The pool of PHP is the process that answers one request after the
// other, as php-fpm's do; here it is PHP's own server, and a request is what borrows.
[, $port, $database, $mode] = $argv ?? [null, null, null, null];

function say($word)
{
    echo "$word\n";
    fgets(STDIN);
}

// `$connect($port, $database, $isAdvised)` connects and `$ask($connection, $sql)` is the first value of the first row.
function two_borrowers($script, $connect, $ask)
{
    global $port, $database, $mode;
    if (PHP_SAPI === 'cli-server') {
        $connection = $connect((int) $_GET['port'], $_GET['database'], $_GET['mode'] === 'advised');
        echo isset($_GET['take']) ? $ask($connection, "SELECT GET_LOCK('nightly', 0)") : '';
        return;
    }
    $place = stream_socket_server('tcp://127.77.0.1:0');
    $at = stream_socket_get_name($place, false);
    fclose($place);
    $server = proc_open([PHP_BINARY, '-S', $at, $script], [['pipe', 'r'], ['pipe', 'w'], ['pipe', 'w']], $pipes);
    fgets($pipes[2]); // it has started
    $request = fn ($more) => file_get_contents("http://$at/?port=$port&database=$database&mode=$mode$more");
    if ((int) $request('&take') !== 1) {
        throw new Exception('the lock was not free');
    }
    say('given back');
    $request('');
    say('lent again');
    say($request('&take'));
    proc_terminate($server);
}
