<?php
if (!extension_loaded('mysqli')) {
    exit(77);
}
require 'steps.php';
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$connection = new mysqli('127.0.0.1', 'root', getenv('PASSWORD'), 'test', (int) $argv[1]);
$connection->set_charset('utf8mb4');
$connection->autocommit(false);
steps(fn ($sql, $args) => $connection->execute_query($sql, $args)->fetch_row()[0]);
